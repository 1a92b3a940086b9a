import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;

/** MariaDB Connector/J, Debian's: text, server-side prepared statements, batches in bulk, callable statements. */
class Client {
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    static String env(String name) {
        return System.getenv("CLIENT_" + name);
    }

    interface Step {
        void run() throws Exception;
    }

    static Connection login(boolean real, String... more) throws SQLException {
        Properties properties = new Properties();
        properties.putAll(java.util.Map.of(
                "user", env("USER"), "password", env("PASSWORD"), "useServerPrepStmts", "" + real,
                "useSsl", "" + env("TLS").equals("on"), "trustServerCertificate", "true", "allowMultiQueries", "true",
                "allowLocalInfile", "true", "allowPublicKeyRetrieval", "true", "useBulkStmts", "" + real,
                "includeInnodbStatusInDeadlockExceptions", "false"));
        for (int n = 0; n < more.length; n += 2) properties.put(more[n], more[n + 1]);
        return DriverManager.getConnection(
                String.format("jdbc:mariadb://%s:%s/%s", env("HOST"), env("PORT"), env("DATABASE")), properties);
    }

    static String shown(Object value) throws Exception {
        if (value instanceof byte[] bytes) {
            if (bytes.length > 40) {
                byte[] sum = MessageDigest.getInstance("MD5").digest(bytes);
                return bytes.length + " bytes, md5 " + HexFormat.of().formatHex(sum);
            }
            return "bytes " + HexFormat.of().formatHex(bytes);
        }
        if (value instanceof String text && text.length() > 200) return shown(text.getBytes(StandardCharsets.UTF_8));
        return value == null ? "NULL" : value.getClass().getSimpleName() + " " + value;
    }

    static void check(String name, Object... values) throws Exception {
        StringBuilder line = new StringBuilder("check " + name + ":");
        for (Object value : values) line.append(' ').append(value instanceof String text && text.length() <= 200 ? text : shown(value));
        OUT.println(line);
    }

    static void refused(String name, Step step) throws Exception {
        try {
            step.run();
        } catch (SQLException error) {
            // The driver puts the connection's id in front, and may name the port.
            String message = error.getMessage().replaceAll("\\(conn=\\d+\\) *", "").replaceAll("port=\\d+", "port");
            check(name, error.getClass().getSimpleName(), error.getErrorCode(), String.valueOf(error.getSQLState()), message);
            return;
        }
        throw new AssertionError(name + ": no error");
    }

    static void table(String name, ResultSet rows) throws Exception {
        ResultSetMetaData meta = rows.getMetaData();
        for (int n = 1; n <= meta.getColumnCount(); n++) {
            check(name + ".column", meta.getTableName(n), meta.getColumnName(n), meta.getColumnTypeName(n), meta.getColumnType(n),
                    meta.getPrecision(n), meta.getScale(n), meta.isSigned(n), meta.isNullable(n), meta.isAutoIncrement(n));
        }
        while (rows.next()) {
            for (int n = 1; n <= meta.getColumnCount(); n++) {
                check(name + "." + meta.getColumnLabel(n), shown(rows.getBytes(n)), shown(rows.getString(n)));
            }
        }
        rows.close();
    }

    static void results(String name, Statement statement, boolean isRows) throws Exception {
        while (true) {
            if (isRows) table(name, statement.getResultSet());
            else if (statement.getUpdateCount() == -1) return;
            else check(name, statement.getUpdateCount());
            isRows = statement.getMoreResults();
        }
    }

    static List<String> statements(String name) throws Exception {
        return Files.readAllLines(Path.of(env("SHARED"), name)).stream().filter(line -> !line.isBlank()).toList();
    }

    static void walk(boolean real) throws Exception {
        String way = real ? "binary" : "text";
        Connection db = login(real);
        Statement statement = db.createStatement();
        table("login", statement.executeQuery(
                "SELECT CURRENT_USER(), DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode, @@version"));
        check("version", db.getMetaData().getDatabaseProductName(), db.getMetaData().getDatabaseProductVersion());
        refused("login.wrong", () -> login(real, "password", "wrong"));
        refused("login.nobody", () -> login(real, "user", "nobody"));
        for (String sql : statements("types.sql")) statement.execute(sql);
        for (String sql : statements("set-up.sql")) statement.execute(sql);
        for (String name : List.of("types", "special")) {
            table(name + "." + way, db.prepareStatement("SELECT * FROM " + name + " ORDER BY id").executeQuery());
        }
        PreparedStatement insert = db.prepareStatement(
                "INSERT INTO bound (i, u, d, s, b, n, dt, da, ti, de) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                Statement.RETURN_GENERATED_KEYS);
        insert.setLong(1, Long.MIN_VALUE);
        insert.setBigDecimal(2, new java.math.BigDecimal("18446744073709551615"));
        insert.setDouble(3, 0.1);
        insert.setString(4, "it's \\ \"ö\" 🦀");
        insert.setBytes(5, new byte[] {0, -1, '\\', '\'', 26});
        insert.setNull(6, Types.INTEGER);
        insert.setTimestamp(7, java.sql.Timestamp.valueOf("2024-02-29 12:34:56.000001"));
        insert.setDate(8, java.sql.Date.valueOf("2024-02-29"));
        insert.setString(9, "-100:00:00.000005");
        insert.setBigDecimal(10, new java.math.BigDecimal("1234567890.1234"));
        check("bound." + way, insert.executeUpdate());
        table("bound.keys", insert.getGeneratedKeys());
        table("bound.read." + way, db.prepareStatement("SELECT * FROM bound").executeQuery());

        results("results", statement, statement.execute("SELECT 1 AS a; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two', NULL; DO 0; SELECT 3"));
        refused("results.error", () -> results("results.error", statement, statement.execute("SELECT 1; SELECT * FROM nowhere; SELECT 2")));
        refused("results.error.late", () -> results("results.error.late", statement, statement.execute("CALL fails_late()")));
        CallableStatement call = db.prepareCall("{CALL two_results(?, ?)}");
        call.setInt(1, 20);
        call.registerOutParameter(2, Types.INTEGER);
        boolean isRows = call.execute();
        check("call.out", call.getInt(2));
        results("call", call, isRows);
        for (String sql : List.of("SELEC 1", "SELECT * FROM nowhere", "INSERT INTO types (id) VALUES (1)",
                "INSERT INTO keyed (v) VALUES (NULL)", "SELECT * FROM mysql.user")) {
            refused("error", () -> statement.execute(sql));
            refused("error." + way, () -> db.prepareStatement(sql).execute());
        }
        String load = "LOAD DATA LOCAL INFILE '" + env("SHARED") + "/rows.tsv%s' INTO TABLE loaded CHARACTER SET utf8mb4";
        check("infile", statement.executeUpdate(String.format(load, "")));
        table("infile.rows", statement.executeQuery("SELECT * FROM loaded ORDER BY id"));
        refused("infile.missing", () -> statement.execute(String.format(load, ".nowhere")));
        table("infile.after", statement.executeQuery("SELECT 'after it'"));

        db.setAutoCommit(false);
        for (boolean commit : new boolean[] {false, true}) {
            check("transaction", statement.executeUpdate("INSERT INTO keyed (k) VALUES ('t1'), ('t2')"));
            if (commit) db.commit();
            else db.rollback();
            table("transaction.count", statement.executeQuery("SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'"));
        }
        db.rollback();
        db.setAutoCommit(true);
        db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        check("isolation", db.getTransactionIsolation());

        for (int megabytes : new int[] {1, 17}) {
            byte[] data = new byte[megabytes << 20];
            for (int n = 0; n < data.length; n++) data[n] = (byte) n;
            PreparedStatement replace = db.prepareStatement("REPLACE INTO large VALUES (?, ?)");
            replace.setInt(1, megabytes);
            replace.setBytes(2, data);
            replace.execute();
            ResultSet rows = db.prepareStatement("SELECT data, SHA2(data, 256), 'behind it' FROM large WHERE id = " + megabytes).executeQuery();
            rows.next();
            if (!Arrays.equals(rows.getBytes(1), data)) throw new AssertionError("other bytes");
            check("large." + way, megabytes, rows.getString(2), rows.getString(3));
        }
        PreparedStatement many = db.prepareStatement("INSERT INTO keyed (k, v) VALUES (?, ?)");
        for (int n = 0; n < 1000; n++) {
            many.setString(1, "m" + n);
            many.setInt(2, n);
            many.addBatch();
        }
        check("many", Arrays.stream(many.executeBatch()).distinct().boxed().toList().toString());
        table("many.read", statement.executeQuery("SELECT COUNT(*), SUM(v), MAX(id) FROM keyed WHERE k LIKE 'm%'"));
        Statement batch = db.createStatement();
        batch.addBatch("UPDATE keyed SET v = 0 WHERE k = 't1'");
        batch.addBatch("INSERT INTO keyed (k) VALUES ('t1')");
        try {
            batch.executeBatch();
        } catch (BatchUpdateException error) {
            check("batch", error.getErrorCode(), Arrays.toString(error.getUpdateCounts()));
        }
        Statement streamed = db.createStatement();
        streamed.setFetchSize(10);
        ResultSet rows = streamed.executeQuery("SELECT k FROM keyed ORDER BY id");
        int count = 0;
        while (rows.next()) count++;
        check("streamed", count);
        Connection slow = login(real, "socketTimeout", "1000");
        refused("timeout", () -> slow.createStatement().execute("DO SLEEP(4)"));
        check("valid", db.isValid(5));
        table("end", statement.executeQuery("SELECT 'still here'"));
        db.close();
    }

    static String one(Connection db, String sql) throws SQLException {
        try (ResultSet rows = db.createStatement().executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static int sum(PreparedStatement statement, int a, int b) throws SQLException {
        statement.setInt(1, a);
        statement.setInt(2, b);
        try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            return rows.getInt(1);
        }
    }

    static void failover() throws Exception {
        Connection idle = login(true), busy = login(true);
        Statement statement = idle.createStatement();
        statement.execute("CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)");
        statement.execute("SET SESSION lock_wait_timeout = 4242");
        statement.execute("SET @note = 'still 🦀'");
        PreparedStatement prepared = idle.prepareStatement("SELECT ? + ?");
        if (sum(prepared, 1, 2) != 3) throw new AssertionError("a wrong sum");
        String before = one(idle, "SELECT @@server_id");
        busy.setAutoCommit(false);
        busy.createStatement().execute("INSERT INTO survived (a) VALUES ('lost')");
        OUT.println("ready");
        if (!"go".equals(new BufferedReader(new InputStreamReader(System.in)).readLine())) throw new AssertionError("not told to go");
        check("prepared", "" + sum(prepared, 20, 22));
        check("variables", one(idle, "SELECT CONCAT(@@lock_wait_timeout, ' ', @note)"));
        check("moved", one(idle, "SELECT @@server_id").equals(before) ? "no" : "yes");
        try {
            busy.createStatement().execute("INSERT INTO survived (a) VALUES ('lost too')");
        } catch (SQLException error) {
            check("transaction", "" + error.getErrorCode());
        }
        busy.rollback();
        busy.createStatement().execute("INSERT INTO survived (a) VALUES ('again')");
        busy.commit();
        check("again", one(idle, "SELECT GROUP_CONCAT(a) FROM survived"));
    }

    public static void main(String[] words) throws Exception {
        if (words[0].equals("failover")) {
            failover();
        } else {
            walk(false);
            walk(true);
        }
    }
}
