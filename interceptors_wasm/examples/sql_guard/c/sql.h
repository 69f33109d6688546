/* What the files of the SQL guard share: the settings, the tokens, and what is wrong with a statement. */
#ifndef SQL_H
#define SQL_H

#include "pdp.h"

typedef enum { ANY, POSTGRESQL, MYSQL, SQLITE, SQLSERVER } dialect;

/* A list of texts from the configuration, NULL where it is not there. */
typedef struct {
    const pdp_text *items;
    size_t count;
} text_list;

typedef struct {
    dialect dialect;
    int64_t max_bytes; /* of a statement */
    text_list statements; /* with count 0: those that the dialect allows */
    text_list deny_functions;
    text_list allow_functions;
    text_list deny_tables;
} settings;

typedef enum {
    END,
    WORD,   /* a keyword or a name, without quotes */
    QUOTED, /* a name in quotes; the text is what is between them. Some dialects take "this" for a string */
    STRING, /* the text is what is between the quotes */
    NUMBER,
    SYMBOL, /* one byte */
} token_kind;

typedef struct {
    token_kind kind;
    pdp_text text;
} token;

typedef struct {
    const char *at, *end;
    dialect dialect;
    pdp_text problem; /* empty while there is none */
} lexer;

/* Gives the next token. At the end, and once there is a problem, it gives END. */
token next_token(lexer *lexer);

/* Is a statement that begins with this word one that reads? */
bool is_reading_word(pdp_text word);

/* Gives what is wrong with a statement, as a text for the agent; an empty text where nothing is. */
pdp_text judge_statement(pdp_text statement, const settings *settings);

PDP_INLINE bool is(token token, pdp_text word)
{
    return token.kind == WORD && pdp_same_nocase(token.text, word);
}

PDP_INLINE bool is_symbol(token token, char c)
{
    return token.kind == SYMBOL && token.text.at[0] == c;
}

PDP_INLINE bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* May the byte be inside of a name? */
PDP_INLINE bool is_name_byte(char c)
{
    c = pdp_lower(c);
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '_' || c == '$';
}

PDP_INLINE bool in_list(pdp_text text, text_list list)
{
    for (size_t i = 0; i < list.count; i++)
        if (text.len == list.items[i].len && pdp_same_nocase(text, list.items[i]))
            return true;
    return false;
}

#endif
