/* libmariadb, MariaDB Connector/C: text, binary, cursors, bulk, long data, OUT parameters.
 *
 * Each line of output is `check NAME: VALUE`; nothing is printed that differs by nature. */
#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *env(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static void die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static MYSQL *try_login(const char *user, const char *password, unsigned timeout) {
    MYSQL *db = mysql_init(NULL);
    unsigned on = 1, off = 0;
    unsigned long packet = 64UL << 20;
    mysql_optionsv(db, MYSQL_OPT_LOCAL_INFILE, &on);
    mysql_optionsv(db, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
    mysql_optionsv(db, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (timeout) mysql_optionsv(db, MYSQL_OPT_READ_TIMEOUT, &timeout);
    mysql_optionsv(db, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &off);
    if (strcmp(env("CLIENT_TLS"), "on") == 0) mysql_optionsv(db, MYSQL_OPT_SSL_ENFORCE, &on);
    mysql_real_connect(db, env("CLIENT_HOST"), user, password, env("CLIENT_DATABASE"), (unsigned)atoi(env("CLIENT_PORT")), NULL,
                       CLIENT_MULTI_STATEMENTS | CLIENT_FOUND_ROWS);
    return db;
}

static MYSQL *login(void) {
    MYSQL *db = try_login(env("CLIENT_USER"), env("CLIENT_PASSWORD"), 0);
    if (mysql_errno(db)) die("login", mysql_error(db));
    return db;
}

static void error_line(const char *name, unsigned code, const char *state, const char *text) {
    printf("check %s: %u %s %s\n", name, code, state, text);
}

/* A value as text, or as length and a sum if it is long, or in hex if it is not printable. */
static void value(const char *data, unsigned long length) {
    if (!data) {
        printf(" NULL");
        return;
    }
    if (length > 100) {
        unsigned long long sum = 14695981039346656037ULL; /* FNV-1a */
        for (unsigned long i = 0; i < length; i++) sum = (sum ^ (unsigned char)data[i]) * 1099511628211ULL;
        printf(" %lu bytes, sum %016llx", length, sum);
        return;
    }
    for (unsigned long i = 0; i < length; i++)
        if ((unsigned char)data[i] < 32 || (unsigned char)data[i] == 127) {
            printf(" hex ");
            for (i = 0; i < length; i++) printf("%02x", (unsigned char)data[i]);
            return;
        }
    printf(" '%.*s'", (int)length, data);
}

static void print_result(const char *name, MYSQL_RES *result) {
    MYSQL_FIELD *fields = mysql_fetch_fields(result);
    unsigned count = mysql_num_fields(result);
    for (unsigned i = 0; i < count; i++)
        printf("check %s.column: %s.%s.%s %s type %d flags %u length %lu charset %u decimals %u\n", name, fields[i].org_table,
               fields[i].org_name, fields[i].table, fields[i].name, fields[i].type, fields[i].flags, fields[i].length,
               fields[i].charsetnr, fields[i].decimals);
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(result))) {
        unsigned long *lengths = mysql_fetch_lengths(result);
        printf("check %s:", name);
        for (unsigned i = 0; i < count; i++) value(row[i], lengths[i]);
        printf("\n");
    }
    mysql_free_result(result);
}

/* Everything that a text of one or more statements is answered with. */
static void query(MYSQL *db, const char *name, const char *sql, unsigned long length) {
    int failed = mysql_real_query(db, sql, length);
    for (;;) {
        if (failed) {
            error_line(name, mysql_errno(db), mysql_sqlstate(db), mysql_error(db));
            return;
        }
        MYSQL_RES *result = mysql_store_result(db);
        if (result) {
            print_result(name, result);
        } else if (mysql_errno(db)) {
            error_line(name, mysql_errno(db), mysql_sqlstate(db), mysql_error(db));
        } else if (name) {
            printf("check %s: affected %llu, id %llu, warnings %u, info %s\n", name, (unsigned long long)mysql_affected_rows(db),
                   (unsigned long long)mysql_insert_id(db), mysql_warning_count(db), mysql_info(db) ? mysql_info(db) : "-");
        }
        if (!mysql_more_results(db)) return;
        failed = mysql_next_result(db) > 0;
    }
}

static void ask(MYSQL *db, const char *name, const char *sql) { query(db, name, sql, strlen(sql)); }

static void run(MYSQL *db, const char *sql) {
    if (mysql_query(db, sql)) die(sql, mysql_error(db));
    MYSQL_RES *result = mysql_store_result(db);
    if (result) mysql_free_result(result);
}

static void run_file(MYSQL *db, const char *name) {
    char path[4096], *line = NULL;
    size_t room = 0;
    snprintf(path, sizeof path, "%s/%s", env("CLIENT_SHARED"), name);
    FILE *file = fopen(path, "r");
    if (!file) die(path, "cannot be opened");
    while (getline(&line, &room, file) > 0)
        if (line[0] != '\n') run(db, line);
    free(line);
    fclose(file);
}

static MYSQL_STMT *prepare(MYSQL *db, const char *sql) {
    MYSQL_STMT *statement = mysql_stmt_init(db);
    if (mysql_stmt_prepare(statement, sql, strlen(sql))) die(sql, mysql_stmt_error(statement));
    return statement;
}

/* The rows of a prepared statement, each value as text and in its own binary form's type. */
static void fetch_all(MYSQL_STMT *statement, const char *name) {
    do {
        MYSQL_RES *meta = mysql_stmt_result_metadata(statement);
        if (!meta) {
            printf("check %s: affected %llu, id %llu, out %d\n", name, (unsigned long long)mysql_stmt_affected_rows(statement),
                   (unsigned long long)mysql_stmt_insert_id(statement), 0);
            continue;
        }
        unsigned count = mysql_num_fields(meta);
        MYSQL_FIELD *fields = mysql_fetch_fields(meta);
        unsigned status = 0;
        mariadb_get_infov(statement->mysql, MARIADB_CONNECTION_SERVER_STATUS, &status);
        MYSQL_BIND *binds = calloc(count, sizeof *binds);
        unsigned long *lengths = calloc(count, sizeof *lengths);
        my_bool *nulls = calloc(count, sizeof *nulls);
        for (unsigned i = 0; i < count; i++) {
            binds[i].buffer_type = MYSQL_TYPE_STRING;
            binds[i].length = &lengths[i];
            binds[i].is_null = &nulls[i];
        }
        if (mysql_stmt_bind_result(statement, binds)) die(name, mysql_stmt_error(statement));
        int got;
        while ((got = mysql_stmt_fetch(statement)) == 0 || got == MYSQL_DATA_TRUNCATED) {
            printf("check %s%s:", name, status & SERVER_PS_OUT_PARAMS ? ".out" : "");
            for (unsigned i = 0; i < count; i++) {
                printf(" %d", fields[i].type);
                if (nulls[i]) {
                    value(NULL, 0);
                    continue;
                }
                char *data = malloc(lengths[i] + 1);
                MYSQL_BIND one = {.buffer_type = MYSQL_TYPE_STRING, .buffer = data, .buffer_length = lengths[i] + 1, .length = &lengths[i]};
                mysql_stmt_fetch_column(statement, &one, i, 0);
                value(data, lengths[i]);
                free(data);
            }
            printf("\n");
        }
        if (got == 1) error_line(name, mysql_stmt_errno(statement), mysql_stmt_sqlstate(statement), mysql_stmt_error(statement));
        free(binds);
        free(lengths);
        free(nulls);
        mysql_free_result(meta);
    } while (mysql_stmt_next_result(statement) == 0);
}

static void binary(MYSQL *db, const char *name, const char *sql, unsigned long prefetch) {
    MYSQL_STMT *statement = prepare(db, sql);
    if (prefetch) {
        unsigned long cursor = CURSOR_TYPE_READ_ONLY;
        mysql_stmt_attr_set(statement, STMT_ATTR_CURSOR_TYPE, &cursor);
        mysql_stmt_attr_set(statement, STMT_ATTR_PREFETCH_ROWS, &prefetch);
    }
    if (mysql_stmt_execute(statement))
        error_line(name, mysql_stmt_errno(statement), mysql_stmt_sqlstate(statement), mysql_stmt_error(statement));
    else
        fetch_all(statement, name);
    mysql_stmt_close(statement);
}

static void bound(MYSQL *db) {
    MYSQL_STMT *statement = prepare(db, "INSERT INTO bound (i, u, d, s, b, n, dt, de) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    long long i = -9223372036854775807LL - 1;
    unsigned long long u = 18446744073709551615ULL;
    double d = 0.1;
    char *s = "it's \\ \"\xc3\xb6\" \xf0\x9f\xa6\x80", *de = "1234567890.1234";
    MYSQL_TIME dt = {.year = 2024, .month = 2, .day = 29, .hour = 12, .minute = 34, .second = 56, .second_part = 1};
    MYSQL_BIND binds[8] = {
        {.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &i},
        {.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &u, .is_unsigned = 1},
        {.buffer_type = MYSQL_TYPE_DOUBLE, .buffer = &d},
        {.buffer_type = MYSQL_TYPE_STRING, .buffer = s, .buffer_length = strlen(s)},
        {.buffer_type = MYSQL_TYPE_BLOB},
        {.buffer_type = MYSQL_TYPE_NULL},
        {.buffer_type = MYSQL_TYPE_DATETIME, .buffer = &dt},
        {.buffer_type = MYSQL_TYPE_STRING, .buffer = de, .buffer_length = strlen(de)},
    };
    mysql_stmt_bind_param(statement, binds);
    /* A parameter in parts: COM_STMT_SEND_LONG_DATA. */
    mysql_stmt_send_long_data(statement, 4, "\0\xff\\", 3);
    mysql_stmt_send_long_data(statement, 4, "'\x1a", 2);
    if (mysql_stmt_execute(statement)) die("bound", mysql_stmt_error(statement));
    fetch_all(statement, "bound");
    mysql_stmt_reset(statement);
    mysql_stmt_close(statement);
    binary(db, "bound.read", "SELECT * FROM bound", 0);
}

/* All rows in one command: COM_STMT_BULK_EXECUTE, MariaDB's only. */
static void bulk(MYSQL *db) {
    enum { ROWS = 1000 };
    static char keys[ROWS][16], *key_of[ROWS];
    static int values[ROWS];
    static char indicators[ROWS];
    for (int n = 0; n < ROWS; n++) {
        snprintf(keys[n], sizeof keys[n], "m%d", n);
        key_of[n] = keys[n];
        values[n] = n;
        indicators[n] = n % 7 == 0 ? STMT_INDICATOR_DEFAULT : STMT_INDICATOR_NONE;
    }
    static char nts[ROWS];
    memset(nts, STMT_INDICATOR_NTS, sizeof nts);
    MYSQL_BIND binds[2] = {{.buffer_type = MYSQL_TYPE_STRING, .buffer = key_of, .u.indicator = nts},
                           {.buffer_type = MYSQL_TYPE_LONG, .buffer = values, .u.indicator = indicators}};
    MYSQL_STMT *statement = prepare(db, "INSERT INTO keyed (k, v) VALUES (?, ?)");
    unsigned rows = ROWS;
    mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &rows);
    mysql_stmt_bind_param(statement, binds);
    if (mysql_stmt_execute(statement))
        error_line("bulk", mysql_stmt_errno(statement), mysql_stmt_sqlstate(statement), mysql_stmt_error(statement));
    else
        fetch_all(statement, "bulk");
    mysql_stmt_close(statement);
    ask(db, "bulk.read", "SELECT COUNT(*), SUM(v), MIN(id), MAX(id) FROM keyed WHERE k LIKE 'm%'");
}

static void large(MYSQL *db) {
    for (unsigned long megabytes = 1; megabytes <= 17; megabytes += 16) {
        unsigned long length = megabytes << 20;
        char *data = malloc(length), *sql = malloc(2 * length + 100);
        for (unsigned long n = 0; n < length; n++) data[n] = (char)n;
        int id = (int)megabytes;
        MYSQL_STMT *statement = prepare(db, "REPLACE INTO large VALUES (?, ?)");
        MYSQL_BIND binds[2] = {{.buffer_type = MYSQL_TYPE_LONG, .buffer = &id},
                               {.buffer_type = MYSQL_TYPE_BLOB, .buffer = data, .buffer_length = length}};
        mysql_stmt_bind_param(statement, binds);
        if (mysql_stmt_execute(statement)) die("large", mysql_stmt_error(statement));
        mysql_stmt_close(statement);
        binary(db, "large.binary", "SELECT SHA2(data, 256), data, 'behind it' FROM large ORDER BY id", 0);
        int head = sprintf(sql, "REPLACE INTO large VALUES (%d, '", id);
        unsigned long tail = head + mysql_real_escape_string(db, sql + head, data, length);
        strcpy(sql + tail, "')");
        query(db, "large.text.write", sql, tail + 2);
        ask(db, "large.text", "SELECT SHA2(data, 256), data, 'behind it' FROM large ORDER BY id");
        free(data);
        free(sql);
    }
}

static void out_parameter(MYSQL *db) {
    int a = 20, b = 0;
    MYSQL_BIND binds[2] = {{.buffer_type = MYSQL_TYPE_LONG, .buffer = &a}, {.buffer_type = MYSQL_TYPE_LONG, .buffer = &b}};
    MYSQL_STMT *statement = prepare(db, "CALL two_results(?, ?)");
    mysql_stmt_bind_param(statement, binds);
    if (mysql_stmt_execute(statement)) die("call", mysql_stmt_error(statement));
    fetch_all(statement, "call");
    mysql_stmt_close(statement);
}

static void walk(void) {
    MYSQL *db = login();
    ask(db, "login", "SELECT CURRENT_USER(), DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode, @@version");
    printf("check version: %s %lu %u\n", mysql_get_server_info(db), mysql_get_server_version(db), mysql_get_proto_info(db));
    int encrypted = mysql_get_ssl_cipher(db) != NULL;
    if (encrypted != (strcmp(env("CLIENT_TLS"), "on") == 0)) die("TLS", encrypted ? "is in use" : "is not in use");
    MYSQL *refused = try_login(env("CLIENT_USER"), "wrong", 0);
    error_line("login.wrong", mysql_errno(refused), mysql_sqlstate(refused), mysql_error(refused));
    mysql_close(refused);
    refused = try_login("nobody", "x", 0);
    error_line("login.nobody", mysql_errno(refused), mysql_sqlstate(refused), mysql_error(refused));
    mysql_close(refused);
    run_file(db, "types.sql");
    run_file(db, "set-up.sql");
    ask(db, "types.text", "SELECT * FROM types ORDER BY id");
    ask(db, "special.text", "SELECT * FROM special ORDER BY id");
    binary(db, "types.binary", "SELECT * FROM types ORDER BY id", 0);
    binary(db, "special.binary", "SELECT * FROM special ORDER BY id", 0);
    binary(db, "types.cursor", "SELECT * FROM types ORDER BY id", 1);
    bound(db);
    ask(db, "results", "SELECT 1 AS a; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two', NULL; DO 0; SELECT 3");
    ask(db, "results.error", "SELECT 1; SELECT * FROM nowhere; SELECT 2");
    ask(db, "results.error.late", "CALL fails_late()");
    ask(db, "call.text", "CALL two_results(20, @out); SELECT @out");
    out_parameter(db);
    ask(db, "error", "SELEC 1");
    ask(db, "error", "SELECT * FROM nowhere");
    ask(db, "error", "INSERT INTO types (id) VALUES (1)");
    ask(db, "error", "INSERT INTO keyed (v) VALUES (NULL)");
    binary(db, "error.binary", "INSERT INTO types (id) VALUES (1)", 0);
    char sql[4200];
    snprintf(sql, sizeof sql, "LOAD DATA LOCAL INFILE '%s/rows.tsv' INTO TABLE loaded CHARACTER SET utf8mb4", env("CLIENT_SHARED"));
    ask(db, "infile", sql);
    ask(db, "infile.rows", "SELECT * FROM loaded ORDER BY id");
    mysql_autocommit(db, 0);
    ask(db, "transaction", "INSERT INTO keyed (k) VALUES ('t1'), ('t2')");
    mysql_rollback(db);
    ask(db, "transaction", "SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'");
    ask(db, "transaction", "INSERT INTO keyed (k) VALUES ('t3')");
    mysql_commit(db);
    mysql_autocommit(db, 1);
    ask(db, "transaction", "SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'");
    ask(db, "found_rows", "UPDATE keyed SET v = v WHERE k LIKE 't%'");
    large(db);
    bulk(db);
    mysql_set_server_option(db, MYSQL_OPTION_MULTI_STATEMENTS_OFF);
    ask(db, "set_option.off", "SELECT 1; SELECT 2");
    mysql_set_server_option(db, MYSQL_OPTION_MULTI_STATEMENTS_ON);
    ask(db, "set_option.on", "SELECT 1; SELECT 2");
    printf("check stat: %.6s\n", mysql_stat(db));
    MYSQL_RES *fields = mysql_list_fields(db, "keyed", "%");
    if (fields) print_result("list_fields", fields);
    else error_line("list_fields", mysql_errno(db), mysql_sqlstate(db), mysql_error(db));
    MYSQL *slow = try_login(env("CLIENT_USER"), env("CLIENT_PASSWORD"), 1);
    ask(slow, "timeout", "SELECT SLEEP(4)");
    mysql_close(slow);
    mysql_reset_connection(db);
    ask(db, "reset", "SELECT @@character_set_client, @@autocommit, DATABASE()");
    printf("check select_db: %d %s\n", mysql_select_db(db, "nowhere"), mysql_error(db));
    printf("check change_user: %d", mysql_change_user(db, env("CLIENT_USER"), env("CLIENT_PASSWORD"), env("CLIENT_DATABASE")));
    printf(" %s\n", mysql_error(db));
    ask(db, "change_user", "SELECT CURRENT_USER(), DATABASE(), @@character_set_client, @@sql_mode");
    printf("check ping: %d\n", mysql_ping(db));
    mysql_close(db);
}

static int sum(MYSQL_STMT *statement, int a, int b) {
    int result = 0;
    MYSQL_BIND in[2] = {{.buffer_type = MYSQL_TYPE_LONG, .buffer = &a}, {.buffer_type = MYSQL_TYPE_LONG, .buffer = &b}};
    MYSQL_BIND out = {.buffer_type = MYSQL_TYPE_LONG, .buffer = &result};
    mysql_stmt_bind_param(statement, in);
    if (mysql_stmt_execute(statement)) die("sum", mysql_stmt_error(statement));
    mysql_stmt_bind_result(statement, &out);
    mysql_stmt_store_result(statement);
    mysql_stmt_fetch(statement);
    mysql_stmt_free_result(statement);
    return result;
}

static void one(MYSQL *db, const char *sql, char *into) {
    if (mysql_query(db, sql)) die(sql, mysql_error(db));
    MYSQL_RES *result = mysql_store_result(db);
    MYSQL_ROW row = mysql_fetch_row(result);
    strcpy(into, row[0]);
    mysql_free_result(result);
}

static void failover(void) {
    char before[100], text[100];
    MYSQL *idle = login(), *busy = login();
    run(idle, "CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)");
    run(idle, "SET SESSION lock_wait_timeout = 4242");
    run(idle, "SET @note = 'still \xf0\x9f\xa6\x80'");
    MYSQL_STMT *statement = prepare(idle, "SELECT ? + ?");
    if (sum(statement, 1, 2) != 3) die("sum", "is not 3");
    one(idle, "SELECT @@server_id", before);
    run(busy, "BEGIN");
    run(busy, "INSERT INTO survived (a) VALUES ('lost')");
    printf("ready\n");
    fflush(stdout);
    if (!fgets(text, sizeof text, stdin) || strcmp(text, "go\n")) die("go", "was not said");
    printf("check prepared: %d\n", sum(statement, 20, 22));
    one(idle, "SELECT CONCAT(@@lock_wait_timeout, ' ', @note)", text);
    printf("check variables: %s\n", text);
    one(idle, "SELECT @@server_id", text);
    printf("check moved: %s\n", strcmp(text, before) ? "yes" : "no");
    mysql_query(busy, "INSERT INTO survived (a) VALUES ('lost too')");
    printf("check transaction: %u\n", mysql_errno(busy));
    mysql_rollback(busy);
    run(busy, "BEGIN");
    run(busy, "INSERT INTO survived (a) VALUES ('again')");
    mysql_commit(busy);
    one(idle, "SELECT GROUP_CONCAT(a) FROM survived", text);
    printf("check again: %s\n", text);
}

int main(int count, char **words) {
    if (count > 1 && strcmp(words[1], "failover") == 0) failover();
    else walk();
    return 0;
}
