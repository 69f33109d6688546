/* What a statement may do: one statement, that reads. */

#include "sql.h"

#define LIST(array) ((text_list){array, sizeof(array) / sizeof(pdp_text)})
#define T(literal) {literal, sizeof(literal) - 1}

static const pdp_text nothing = {"", 0};

/* The statements that read, by dialect. In SQL Server a statement that begins with any other word may call a procedure
 * of that name. */
static const pdp_text reading_any[] = {T("select"), T("with"), T("explain"), T("show"), T("describe"), T("desc"),
                                       T("values"), T("table"), T("pragma")};
static const pdp_text reading_postgresql[] = {T("select"), T("with"), T("explain"), T("show"), T("values"), T("table")};
static const pdp_text reading_mysql[] = {T("select"), T("with"), T("explain"), T("show"), T("describe"), T("desc"),
                                         T("values"), T("table")};
static const pdp_text reading_sqlite[] = {T("select"), T("with"), T("explain"), T("values"), T("pragma")};
static const pdp_text reading_sqlserver[] = {T("select"), T("with")};

/* Words that no statement that only reads has anywhere outside of quotes. They catch what hides behind an allowed
 * first word: WITH x AS (DELETE …), SELECT … INTO, SELECT … FOR UPDATE, EXPLAIN of something else. */
static const pdp_text writing[] = {T("alter"), T("create"), T("delete"), T("drop"), T("exec"), T("execute"), T("grant"),
                                   T("insert"), T("into"), T("merge"), T("revoke"), T("truncate"), T("update"),
                                   T("outfile"), T("dumpfile")};

/* SQL Server needs no semicolon between two statements. These begin one there, and are no names there without quotes. */
static const pdp_text writing_sqlserver[] = {T("backup"), T("begin"), T("bulk"), T("checkpoint"), T("commit"), T("dbcc"),
                                             T("deny"), T("holdlock"), T("kill"), T("reconfigure"), T("restore"),
                                             T("rollback"), T("setuser"), T("shutdown"), T("tablockx"), T("trigger"),
                                             T("updatetext"), T("updlock"), T("waitfor"), T("while"), T("writetext"),
                                             T("xlock"), T("go")};

/* Pragmas of SQLite that read. The first may have an argument in parentheses. */
static const pdp_text pragmas_with_argument[] = {T("table_info"), T("table_xinfo"), T("table_list"), T("index_list"),
                                                 T("index_info"), T("index_xinfo"), T("foreign_key_list")};
static const pdp_text pragmas_without[] = {T("database_list"), T("collation_list"), T("function_list"), T("module_list"),
                                           T("pragma_list"), T("compile_options"), T("user_version"),
                                           T("schema_version"), T("page_count"), T("page_size"), T("encoding"),
                                           T("freelist_count"), T("application_id"), T("journal_mode"),
                                           T("foreign_keys")};

/* Functions that read files, open connections, run other text as SQL, change something, or wait. A star stands for
 * the rest of the name. */
static const pdp_text denied_functions[] = {
    /* PostgreSQL: all of pg_ but what allowed_functions has */
    T("pg_*"), T("lo_*"), T("loread"), T("lowrite"), T("dblink*"), T("set_config"), T("setval"), T("nextval"),
    T("setseed"), T("query_to_xml*"), T("cursor_to_xml*"), T("table_to_xml*"), T("schema_to_xml*"), T("database_to_xml*"),
    T("ts_stat"), T("ts_rewrite"), T("crosstab*"), T("connectby"), T("txid_*"), T("gin_*"), T("brin_*"),
    /* MySQL and MariaDB */
    T("load_file"), T("sleep"), T("benchmark"), T("get_lock"), T("release_lock"), T("release_all_locks"),
    T("master_pos_wait"), T("source_pos_wait"), T("wait_for_executed_gtid_set"), T("wait_until_sql_thread_after_gtids"),
    T("sys_eval"), T("sys_exec"), T("sys_get"), T("sys_set"), T("lib_mysqludf*"), T("analyse"),
    /* SQLite */
    T("load_extension"), T("readfile"), T("writefile"), T("fsdir"), T("edit"), T("zipfile"), T("sqlar*"),
    T("fts3_tokenizer"), T("eval"),
    /* SQL Server */
    T("openrowset"), T("opendatasource"), T("openquery"), T("openxml"), T("xp_*"), T("sp_*"), T("fn_xe_*"),
    T("fn_trace_*"), T("fn_get_audit_file"), T("fn_dblog"), T("fn_dump_dblog"),
};
static const pdp_text allowed_functions[] = {
    T("pg_get_*"), T("pg_size_*"), T("pg_table_size"), T("pg_total_relation_size"), T("pg_relation_size"),
    T("pg_indexes_size"), T("pg_database_size"), T("pg_tablespace_size"), T("pg_column_size"), T("pg_typeof"),
    T("pg_table_is_visible"), T("pg_type_is_visible"), T("pg_function_is_visible"), T("pg_encoding_to_char"),
    T("pg_backend_pid"), T("pg_is_in_recovery"), T("pg_postmaster_start_time"), T("pg_stat_get_*"),
    T("pg_describe_object"), T("pg_relation_filenode"), T("pg_input_is_valid"),
};

/* A statement while it is read. */
typedef struct {
    const settings *settings;
    token first;             /* the first word */
    size_t words;            /* words so far */
    token before, earlier;   /* the token before this one, and the one before that */
    bool finished;           /* the semicolon has been */
} statement;

static pdp_text not_allowed(pdp_text what)
{
    return PDP_JOIN(PDP_TEXT("`"), pdp_clip(what, 60), PDP_TEXT("` is not allowed in a statement that only reads"));
}

/* Is the text in the list, of which the elements may end in a star? */
static bool matches(pdp_text text, text_list patterns)
{
    for (size_t i = 0; i < patterns.count; i++) {
        pdp_text pattern = patterns.items[i];
        if (pattern.len > 0 && pattern.at[pattern.len - 1] == '*') {
            size_t stem = pattern.len - 1;
            if (text.len >= stem && pdp_same_nocase((pdp_text){text.at, stem}, (pdp_text){pattern.at, stem}))
                return true;
        } else if (pdp_same_nocase(text, pattern)) {
            return true;
        }
    }
    return false;
}

/* Some databases compare names without accents, so that a name that is not ASCII may be another one as well. */
static bool is_ascii(pdp_text text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] & 0x80)
            return false;
    return true;
}

bool is_reading_word(pdp_text word)
{
    return in_list(word, LIST(reading_any));
}

static text_list reading(const settings *settings)
{
    if (settings->statements.count > 0)
        return settings->statements;
    switch (settings->dialect) {
    case POSTGRESQL:
        return LIST(reading_postgresql);
    case MYSQL:
        return LIST(reading_mysql);
    case SQLITE:
        return LIST(reading_sqlite);
    case SQLSERVER:
        return LIST(reading_sqlserver);
    default:
        return LIST(reading_any);
    }
}

/* Two words that together do more than read, the second of which is `word`. */
static bool is_writing_pair(token before, token word)
{
    if (is(before, PDP_TEXT("for")))
        return is(word, PDP_TEXT("share")) || is(word, PDP_TEXT("key")) || is(word, PDP_TEXT("no"));
    if (is(before, PDP_TEXT("lock")))
        return is(word, PDP_TEXT("in"));
    if (is(before, PDP_TEXT("next")))
        return is(word, PDP_TEXT("value"));
    return false;
}

static pdp_text judge_first(const statement *statement, token word)
{
    if (in_list(word.text, reading(statement->settings)))
        return nothing;
    return PDP_JOIN(PDP_TEXT("statements that begin with `"), pdp_clip(word.text, 60), PDP_TEXT("` are not allowed"));
}

/* Judges a word by what is in front of it. `set` is a part of CHARACTER SET too. */
static pdp_text judge_word(const statement *statement, token word)
{
    dialect dialect = statement->settings->dialect;
    bool is_show = is(statement->first, PDP_TEXT("show")) && statement->words == 1;
    if (statement->words == 0)
        return judge_first(statement, word);
    if (in_list(word.text, LIST(writing)) && !(is_show && is(word, PDP_TEXT("create"))))
        return not_allowed(word.text);
    if (is(word, PDP_TEXT("set")) && !is(statement->before, PDP_TEXT("character")))
        return not_allowed(word.text);
    if ((dialect == ANY || dialect == SQLSERVER) && in_list(word.text, LIST(writing_sqlserver)))
        return not_allowed(word.text);
    if (is_writing_pair(statement->before, word))
        return not_allowed(PDP_JOIN(statement->before.text, PDP_TEXT(" "), word.text));
    bool explains = is(statement->first, PDP_TEXT("explain")) || is(statement->first, PDP_TEXT("describe")) ||
                    is(statement->first, PDP_TEXT("desc"));
    if (explains && (is(word, PDP_TEXT("analyze")) || is(word, PDP_TEXT("analyse"))))
        return PDP_TEXT("EXPLAIN ANALYZE executes the statement and is not allowed");
    return nothing;
}

/* Judges a word by the token behind it. `use` is a part of USE INDEX too. */
static pdp_text judge_following(const statement *statement, token word, token next)
{
    dialect dialect = statement->settings->dialect;
    if (is(word, PDP_TEXT("replace")) && !is_symbol(next, '('))
        return not_allowed(word.text);
    if (is(word, PDP_TEXT("use")) && (dialect == ANY || dialect == SQLSERVER) && !is(next, PDP_TEXT("index")) &&
        !is(next, PDP_TEXT("key")))
        return not_allowed(word.text);
    return nothing;
}

/* Judges a name with a parenthesis behind it. */
static pdp_text judge_call(const statement *statement, token name)
{
    const settings *settings = statement->settings;
    bool excused = matches(name.text, settings->allow_functions) || matches(name.text, LIST(allowed_functions));
    bool denied = !is_ascii(name.text) || (!excused && matches(name.text, LIST(denied_functions)));
    if (!denied && !matches(name.text, settings->deny_functions))
        return nothing;
    return PDP_JOIN(PDP_TEXT("the function `"), pdp_clip(name.text, 60), PDP_TEXT("` is not allowed"));
}

/* Is the name the table of a pattern `schema.table` or `table`, or the schema of `schema.*`? A name without a schema may
 * be in any. */
static bool is_denied_name(const statement *statement, token name, token next)
{
    token qualifier = is_symbol(statement->before, '.') ? statement->earlier : (token){END, nothing};
    bool qualified = qualifier.kind == WORD || qualifier.kind == QUOTED || qualifier.kind == STRING;
    text_list denied = statement->settings->deny_tables;
    for (size_t i = 0; i < denied.count; i++) {
        pdp_text schema = {denied.items[i].at, 0}, table = denied.items[i];
        while (schema.len < table.len && schema.at[schema.len] != '.')
            schema.len++;
        bool has_schema = schema.len < table.len;
        if (has_schema)
            table = (pdp_text){table.at + schema.len + 1, table.len - schema.len - 1};
        if (has_schema && pdp_same(table, PDP_TEXT("*"))) {
            if (pdp_same_nocase(name.text, schema) && is_symbol(next, '.'))
                return true;
        } else if (pdp_same_nocase(name.text, table) &&
                   (!has_schema || !qualified || pdp_same_nocase(qualifier.text, schema))) {
            return true;
        }
    }
    return false;
}

static pdp_text judge_name(const statement *statement, token name, token next)
{
    dialect dialect = statement->settings->dialect;
    /* SQLite takes a string for a name where it wants a name. */
    bool is_name = name.kind == WORD || name.kind == QUOTED ||
                   (name.kind == STRING && (dialect == ANY || dialect == SQLITE));
    if (name.kind == QUOTED && statement->settings->deny_tables.count > 0 && !is_ascii(name.text))
        return PDP_TEXT("names in quotes have to be ASCII; text belongs into single quotes");
    if (is_name && is_denied_name(statement, name, next))
        return PDP_JOIN(PDP_TEXT("`"), pdp_clip(name.text, 60), PDP_TEXT("` may not be read"));
    return nothing;
}

/* Judges a token of a PRAGMA: a name that reads, perhaps with a schema in front, perhaps with an argument in
 * parentheses behind it. */
static pdp_text judge_pragma(const statement *statement, token this, token next)
{
    bool is_name = is(statement->before, PDP_TEXT("pragma")) || is_symbol(statement->before, '.');
    if (is_symbol(this, '='))
        return PDP_TEXT("a PRAGMA that sets something is not allowed");
    if (!is_name || is_symbol(next, '.') || is_symbol(this, '.'))
        return nothing;
    if (in_list(this.text, LIST(pragmas_with_argument)) ||
        (in_list(this.text, LIST(pragmas_without)) && !is_symbol(next, '(')))
        return nothing;
    return PDP_TEXT("this PRAGMA, or its argument, is not allowed");
}

/* Judges one token, with the one behind it. */
static pdp_text judge_token(statement *statement, token this, token next)
{
    pdp_text problem = nothing;
    if (statement->finished)
        return PDP_TEXT("more than one statement is not allowed");
    statement->finished = is_symbol(this, ';');
    if (this.kind == WORD)
        problem = judge_word(statement, this);
    if (problem.len == 0 && this.kind == WORD)
        problem = judge_following(statement, this, next);
    if (problem.len == 0 && (this.kind == WORD || this.kind == QUOTED) && is_symbol(next, '('))
        problem = judge_call(statement, this);
    if (problem.len == 0)
        problem = judge_name(statement, this, next);
    if (problem.len == 0 && is(statement->first, PDP_TEXT("pragma")))
        problem = judge_pragma(statement, this, next);
    if (this.kind == WORD && statement->words++ == 0)
        statement->first = this;
    statement->earlier = statement->before;
    statement->before = this;
    return problem;
}

pdp_text judge_statement(pdp_text text, const settings *settings)
{
    lexer lexer = {text.at, text.at + text.len, settings->dialect, nothing};
    statement statement = {.settings = settings};
    token next = next_token(&lexer);
    while (is_symbol(next, '(')) /* (SELECT …) UNION … */
        next = next_token(&lexer);
    if (lexer.problem.len == 0 && next.kind != WORD)
        return PDP_TEXT("there is no statement");
    while (next.kind != END) {
        token this = next;
        next = next_token(&lexer);
        pdp_text problem = judge_token(&statement, this, next);
        if (problem.len > 0)
            return problem;
    }
    return lexer.problem;
}
