/* SQL guard: only statements that read. Phase: request.
 *
 * It looks at the text of the statement before the database does, and lets one statement pass that reads. What databases
 * read in different ways it denies, since then there is no telling what will be executed: quotes with backslashes in
 * front, comments inside of comments, dollar signs, and so on. A database user that may only read is the second line;
 * functions that you have written yourself are known only to it.
 *
 * Configuration, all of it optional:
 *
 *   arguments        list of strings  Members of the arguments, at whatever depth and in whatever case, that hold a
 *                                     statement or a list of them. Default ["sql", "query", "statement"].
 *   required         boolean          A call without any of these is denied. Default true; set it to false where the
 *                                     binding covers tools that have none.
 *   dialect          string           "postgresql", "mysql" (MariaDB too), "sqlite", "sqlserver", or "any", which is the
 *                                     default and the strictest: a statement then has to mean the same to all of them.
 *   statements       list of strings  The first words that are allowed. Default: those of select, with, explain, show,
 *                                     describe, desc, values, table and pragma that the dialect has. No others are possible.
 *   deny_functions   list of strings  Functions that are denied beside the built-in ones (see rules.c). `name*` stands
 *                                     for all names that begin so.
 *   allow_functions  list of strings  Functions to take off the built-in list.
 *   deny_tables      list of strings  `table`, `schema.table` or `schema.*`. The name may not occur anywhere outside of
 *                                     text, so neither may a column of that name. `schema.table` includes `table`
 *                                     without a schema. Where the dialect may be SQLite, text counts as well.
 *   max_bytes        integer          The longest statement. Default 65536.
 */

#include "sql.h"

static const pdp_text default_arguments[] = {{"sql", 3}, {"query", 5}, {"statement", 9}};

static settings current;
static text_list arguments;
static bool required;

/* --- configuration ----------------------------------------------------------------------------------------------- */

static const pdp_text fine = {"", 0};

static pdp_text wrong(pdp_text key, pdp_text what)
{
    return PDP_JOIN(PDP_TEXT("`"), key, PDP_TEXT("` "), what);
}

static pdp_text read_list(pdp_text key, pdp_value value, text_list *list)
{
    size_t count = 0;
    for (pdp_iterator it = pdp_inside(value); pdp_next(&it);)
        count++;
    pdp_text *items = pdp_take(count * sizeof(pdp_text));
    size_t at = 0;
    for (pdp_iterator it = pdp_inside(value); pdp_next(&it); at++)
        if (!pdp_string(it.value, &items[at]) || items[at].len == 0)
            return wrong(key, PDP_TEXT("has to be a list of strings that are not empty"));
    *list = (text_list){items, count};
    return pdp_kind_of(value) == PDP_ARRAY ? fine : wrong(key, PDP_TEXT("has to be a list of strings"));
}

static pdp_text read_dialect(pdp_text key, pdp_value value, dialect *dialect)
{
    static const pdp_text names[] = {{"any", 3}, {"postgresql", 10}, {"mysql", 5}, {"sqlite", 6}, {"sqlserver", 9}};
    pdp_text name;
    for (size_t i = 0; pdp_string(value, &name) && i < sizeof(names) / sizeof(names[0]); i++)
        if (pdp_same(name, names[i])) {
            *dialect = i;
            return fine;
        }
    return wrong(key, PDP_TEXT("has to be `any`, `postgresql`, `mysql`, `sqlite` or `sqlserver`"));
}

static pdp_text read_statements(pdp_text key, pdp_value value, text_list *list)
{
    pdp_text problem = read_list(key, value, list);
    for (size_t i = 0; problem.len == 0 && i < list->count; i++)
        if (!is_reading_word(list->items[i]))
            problem = wrong(key, PDP_JOIN(PDP_TEXT("may not have `"), list->items[i], PDP_TEXT("`")));
    if (problem.len == 0 && list->count == 0)
        problem = wrong(key, PDP_TEXT("is empty"));
    return problem;
}

static pdp_text read_key(pdp_text key, pdp_value value)
{
    if (pdp_same(key, PDP_TEXT("arguments")))
        return read_list(key, value, &arguments);
    if (pdp_same(key, PDP_TEXT("required")))
        return pdp_bool(value, &required) ? fine : wrong(key, PDP_TEXT("has to be true or false"));
    if (pdp_same(key, PDP_TEXT("dialect")))
        return read_dialect(key, value, &current.dialect);
    if (pdp_same(key, PDP_TEXT("statements")))
        return read_statements(key, value, &current.statements);
    if (pdp_same(key, PDP_TEXT("deny_functions")))
        return read_list(key, value, &current.deny_functions);
    if (pdp_same(key, PDP_TEXT("allow_functions")))
        return read_list(key, value, &current.allow_functions);
    if (pdp_same(key, PDP_TEXT("deny_tables")))
        return read_list(key, value, &current.deny_tables);
    if (pdp_same(key, PDP_TEXT("max_bytes"))) {
        bool ok = pdp_int(value, &current.max_bytes) && current.max_bytes > 0;
        return ok ? fine : wrong(key, PDP_TEXT("has to be a positive integer"));
    }
    return wrong(key, PDP_TEXT("is no key of this guard")); /* one that is misspelt would leave open what it was to close */
}

static pdp_text configure(pdp_value config)
{
    arguments = (text_list){default_arguments, sizeof(default_arguments) / sizeof(pdp_text)};
    required = true;
    current.max_bytes = 65536;
    for (pdp_iterator it = pdp_inside(config); pdp_next(&it);) {
        pdp_text problem = read_key(it.name, it.value);
        if (problem.len > 0)
            return problem;
    }
    return fine;
}

PDP_ON_CONFIGURE(configure)

/* --- calls ------------------------------------------------------------------------------------------------------- */

static pdp_text judge_value(pdp_value value)
{
    pdp_text statement;
    if (!pdp_string(value, &statement))
        return PDP_TEXT("a statement has to be a string");
    if ((int64_t)statement.len > current.max_bytes)
        return PDP_TEXT("the statement is too long");
    return judge_statement(statement, &current);
}

static pdp_reply deny(pdp_text argument, pdp_text problem)
{
    return pdp_deny(PDP_JOIN(PDP_TEXT("this guard lets only statements pass that read: "), problem),
                    PDP_JOIN(PDP_TEXT("argument `"), argument, PDP_TEXT("`: "), problem));
}

/* Goes over the arguments once. Everything inside of a member that is configured has to be a statement. */
static pdp_reply judge(pdp_request request)
{
    pdp_text name = fine; /* of the configured member that the walk is inside of */
    size_t depth = 0;     /* its depth; 0: inside of none */
    bool found = false;
    for (pdp_walker walk = pdp_walk(request.arguments); pdp_step(&walk);) {
        if (walk.depth <= depth)
            depth = 0;
        bool begins = depth == 0 && in_list(walk.name, arguments);
        if (begins) {
            name = walk.name;
            depth = walk.depth;
        }
        pdp_kind kind = pdp_kind_of(walk.value);
        if (depth == 0 || kind == PDP_ARRAY || (begins && kind == PDP_NULL))
            continue; /* the elements come next; null is an argument that was left out */
        found = true;
        pdp_text problem = judge_value(walk.value);
        if (problem.len > 0)
            return deny(name, problem);
    }
    if (required && !found)
        return pdp_deny(PDP_TEXT("the call has no statement that this guard can judge"),
                        PDP_TEXT("none of `arguments` is in the call"));
    return pdp_pass();
}

PDP_ON_REQUEST(judge)
