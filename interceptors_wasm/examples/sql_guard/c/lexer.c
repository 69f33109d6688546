/* Reads a statement as tokens, the way all dialects do that it may be for. Where they differ on where a quote or a
 * comment ends, there is no telling what the database will see, and the statement has a problem. */

#include "sql.h"

static const token no_more = {END, {"", 0}};

static token fail(lexer *lexer, pdp_text problem)
{
    lexer->problem = problem;
    return no_more;
}

/* The byte `ahead` of where the lexer is, 0 behind the end. A NUL in the text is a problem, so 0 is not ambiguous. */
static char peek(const lexer *lexer, size_t ahead)
{
    return ahead < (size_t)(lexer->end - lexer->at) ? lexer->at[ahead] : 0;
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
}

/* Skips `-- …` or `# …` up to the end of the line. */
static bool skip_line(lexer *lexer)
{
    for (;; lexer->at++) {
        char c = peek(lexer, 0);
        if (c == '\n')
            return true;
        if (c == 0 || is_control(c) || c & 0x80 || (c == '\r' && peek(lexer, 1) != '\n')) {
            fail(lexer, c == 0 ? PDP_TEXT("a comment has to end with a line break")
                               : PDP_TEXT("a comment has a character in it that some databases take for its end"));
            return false;
        }
    }
}

static bool skip_block(lexer *lexer)
{
    char first = peek(lexer, 2);
    if (first == '!' || first == '+' || (pdp_lower(first) == 'm' && peek(lexer, 3) == '!')) {
        fail(lexer, PDP_TEXT("comments that some databases execute are not allowed"));
        return false;
    }
    for (lexer->at += 2;; lexer->at++) {
        char c = peek(lexer, 0);
        if (c == '*' && peek(lexer, 1) == '/') {
            lexer->at += 2;
            return true;
        }
        if (c == '/' && peek(lexer, 1) == '*') {
            fail(lexer, PDP_TEXT("a comment inside of a comment is not allowed"));
            return false;
        }
        if (c == 0 || is_control(c) || c & 0x80) {
            fail(lexer, PDP_TEXT("a comment does not end, or has a character in it that is not ASCII"));
            return false;
        }
    }
}

/* Skips white space and comments; false where there is a problem with them. */
static bool skip_blank(lexer *lexer)
{
    for (;;) {
        char c = peek(lexer, 0);
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            lexer->at++;
        } else if (c == '-' && peek(lexer, 1) == '-') {
            char behind = peek(lexer, 2);
            if (behind != ' ' && behind != '\t' && behind != '\n' && behind != '\r') {
                fail(lexer, PDP_TEXT("two minus signs have to be followed by a space; MySQL takes them for no comment otherwise"));
                return false;
            }
            if (!skip_line(lexer))
                return false;
        } else if (c == '#' && lexer->dialect == MYSQL) {
            if (!skip_line(lexer))
                return false;
        } else if (c == '/' && peek(lexer, 1) == '*') {
            if (!skip_block(lexer))
                return false;
        } else {
            return true;
        }
    }
}

/* Reads what is between two equal quotes, of which a double one stands for one. Some dialects read a backslash in front
 * of the quote as an escape, some do not, and for some it depends on a setting. */
static token read_quoted(lexer *lexer, token_kind kind)
{
    char quote = *lexer->at++;
    const char *begin = lexer->at;
    bool escaped = false;
    for (;; lexer->at++) {
        char c = peek(lexer, 0);
        if (c == 0 || is_control(c))
            return fail(lexer, PDP_TEXT("a quote does not end, or has a control character in it"));
        if (c == quote) {
            if (escaped && quote != '`')
                return fail(lexer, PDP_TEXT("a backslash in front of a quote is ambiguous; double the quote"));
            if (peek(lexer, 1) != quote)
                break;
            lexer->at++;
        }
        escaped = c == '\\' && !escaped;
    }
    token token = {kind, {begin, (size_t)(lexer->at - begin)}};
    lexer->at++;
    return token;
}

/* Reads `name` or [name] where it is not known whether this is a name: it may have only what means nothing else. */
static token read_plain_name(lexer *lexer, char close)
{
    const char *begin = ++lexer->at;
    while (is_name_byte(peek(lexer, 0)) || peek(lexer, 0) == ' ' || peek(lexer, 0) == '.' || peek(lexer, 0) == ',' ||
           peek(lexer, 0) == ':')
        lexer->at++;
    token token = {QUOTED, {begin, (size_t)(lexer->at - begin)}};
    if (peek(lexer, 0) != close)
        return fail(lexer, PDP_TEXT("backticks and brackets differ between databases; the guard has to be told the dialect"));
    lexer->at++;
    return token;
}

/* Reads [name] of SQL Server, where ]] stands for ], or of SQLite, where nothing does. */
static token read_bracketed(lexer *lexer)
{
    const char *begin = ++lexer->at;
    for (;; lexer->at++) {
        char c = peek(lexer, 0);
        if (c == 0 || is_control(c))
            return fail(lexer, PDP_TEXT("a bracket does not end, or has a control character in it"));
        if (c == ']') {
            if (lexer->dialect != SQLSERVER || peek(lexer, 1) != ']')
                break;
            lexer->at++;
        }
    }
    token token = {QUOTED, {begin, (size_t)(lexer->at - begin)}};
    lexer->at++;
    return token;
}

/* Reads $tag$ … $tag$ of PostgreSQL. */
static token read_dollar(lexer *lexer)
{
    const char *begin = lexer->at++;
    while (is_name_byte(peek(lexer, 0)) && peek(lexer, 0) != '$')
        lexer->at++;
    if (lexer->dialect != POSTGRESQL || peek(lexer, 0) != '$')
        return fail(lexer, PDP_TEXT("a dollar sign here is a quote for some databases and none for others"));
    pdp_text tag = {begin, (size_t)(++lexer->at - begin)};
    begin = lexer->at;
    for (;; lexer->at++) {
        if (peek(lexer, 0) == 0 || is_control(peek(lexer, 0)))
            return fail(lexer, PDP_TEXT("a dollar quote does not end, or has a control character in it"));
        if ((size_t)(lexer->end - lexer->at) >= tag.len && pdp_same((pdp_text){lexer->at, tag.len}, tag))
            break;
    }
    token token = {STRING, {begin, (size_t)(lexer->at - begin)}};
    lexer->at += tag.len;
    return token;
}

static token read_word(lexer *lexer)
{
    const char *begin = lexer->at;
    while (is_name_byte(peek(lexer, 0)))
        lexer->at++;
    token token = {WORD, {begin, (size_t)(lexer->at - begin)}};
    char next = peek(lexer, 0), behind = peek(lexer, 1);
    if (is(token, PDP_TEXT("u")) && next == '&' && (behind == '\'' || behind == '"'))
        return fail(lexer, PDP_TEXT("quotes with Unicode escapes (U&) are not allowed"));
    if (lexer->dialect == ANY && next == '\'' && (is(token, PDP_TEXT("q")) || is(token, PDP_TEXT("nq"))))
        return fail(lexer, PDP_TEXT("quotes with a `q` in front are not allowed"));
    return token;
}

/* Reads a number. `1union` is a number and a keyword for some databases and a name for others. */
static token read_number(lexer *lexer)
{
    const char *begin = lexer->at;
    if (peek(lexer, 0) == '0' && pdp_lower(peek(lexer, 1)) == 'x') {
        for (lexer->at += 2; is_digit(peek(lexer, 0)) ||
                             (pdp_lower(peek(lexer, 0)) >= 'a' && pdp_lower(peek(lexer, 0)) <= 'f');)
            lexer->at++;
    } else {
        while (is_digit(peek(lexer, 0)))
            lexer->at++;
        if (peek(lexer, 0) == '.')
            lexer->at++;
        while (is_digit(peek(lexer, 0)))
            lexer->at++;
        size_t sign = peek(lexer, 1) == '+' || peek(lexer, 1) == '-';
        if (lexer->at[-1] != '.' && pdp_lower(peek(lexer, 0)) == 'e' && is_digit(peek(lexer, 1 + sign)))
            for (lexer->at += 2 + sign; is_digit(peek(lexer, 0));)
                lexer->at++;
    }
    if (is_name_byte(peek(lexer, 0)) || peek(lexer, 0) == '.' || peek(lexer, 0) & 0x80)
        return fail(lexer, PDP_TEXT("a number has to be followed by a space; some databases take it for a part of a name"));
    return (token){NUMBER, {begin, (size_t)(lexer->at - begin)}};
}

static token read_symbol(lexer *lexer)
{
    char c = peek(lexer, 0);
    if (c & 0x80)
        return fail(lexer, PDP_TEXT("characters that are not ASCII are allowed only inside of quotes"));
    if (c == '*' && peek(lexer, 1) == '/')
        return fail(lexer, PDP_TEXT("a comment ends that has not begun"));
    if (c == ':' && peek(lexer, 1) == '=')
        return fail(lexer, PDP_TEXT("assignments are not allowed"));
    switch (c) {
    case '(': case ')': case ',': case '.': case ';': case '+': case '-': case '*': case '/': case '%': case '<':
    case '>': case '=': case '!': case '~': case '^': case '&': case '|': case ':': case '?': case '@':
        break;
    case '[': case ']':
        if (lexer->dialect == POSTGRESQL)
            break;
        return fail(lexer, PDP_TEXT("a bracket is out of place"));
    case '#':
        if (lexer->dialect == POSTGRESQL || lexer->dialect == SQLSERVER)
            break;
        return fail(lexer, PDP_TEXT("`#` begins a comment for some databases and none for others"));
    default:
        return fail(lexer, PDP_TEXT("there is a character that no statement has outside of quotes"));
    }
    return (token){SYMBOL, {lexer->at++, 1}};
}

token next_token(lexer *lexer)
{
    if (lexer->problem.len > 0 || !skip_blank(lexer) || lexer->at == lexer->end)
        return no_more;
    char c = peek(lexer, 0);
    switch (c) {
    case '\'':
        return read_quoted(lexer, STRING);
    case '"':
        return read_quoted(lexer, QUOTED);
    case '`':
        if (lexer->dialect == MYSQL || lexer->dialect == SQLITE)
            return read_quoted(lexer, QUOTED);
        return read_plain_name(lexer, '`');
    case '[':
        if (lexer->dialect == SQLSERVER || lexer->dialect == SQLITE)
            return read_bracketed(lexer);
        return lexer->dialect == ANY ? read_plain_name(lexer, ']') : read_symbol(lexer);
    case '$':
        if (is_digit(peek(lexer, 1))) { /* a parameter, or money */
            lexer->at++;
            return read_number(lexer);
        }
        return read_dollar(lexer);
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1))))
        return read_number(lexer);
    if (is_name_byte(c))
        return read_word(lexer);
    return read_symbol(lexer);
}
