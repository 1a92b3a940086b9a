// Debian's github.com/go-sql-driver/mysql below database/sql: prepared statements, interpolated text, large
// packets, LOAD DATA LOCAL.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

func env(name string) string { return os.Getenv("CLIENT_" + name) }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func shown(value interface{}) string {
	switch value := value.(type) {
	case nil:
		return "NULL"
	case []byte:
		if len(value) > 100 {
			return fmt.Sprintf("%d bytes, md5 %x", len(value), md5.Sum(value))
		}
		return fmt.Sprintf("%q", value)
	case time.Time:
		return value.UTC().Format(time.RFC3339Nano)
	default:
		return fmt.Sprintf("%T %v", value, value)
	}
}

func check(name string, values ...interface{}) {
	parts := make([]string, len(values))
	for n, value := range values {
		if text, ok := value.(string); ok {
			parts[n] = text
		} else {
			parts[n] = shown(value)
		}
	}
	fmt.Printf("check %s: %s\n", name, strings.Join(parts, ", "))
}

func refused(name string, err error) {
	var told *mysql.MySQLError
	if errors.As(err, &told) {
		check(name, fmt.Sprintf("%d %s", told.Number, told.Message))
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		check(name, "a timeout")
	} else if err != nil {
		check(name, err.Error())
	} else {
		panic(name + ": no error")
	}
}

// `interpolate` makes text queries of queries with arguments; otherwise they are prepared.
func open(interpolate bool, change func(*mysql.Config)) *sql.DB {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName = env("USER"), env("PASSWORD"), env("DATABASE")
	config.Net, config.Addr = "tcp", env("HOST")+":"+env("PORT")
	config.Collation = "utf8mb4_general_ci"
	config.InterpolateParams, config.MultiStatements, config.ParseTime = interpolate, true, true
	config.AllowAllFiles, config.MaxAllowedPacket = true, 64<<20
	if env("TLS") == "on" {
		config.TLSConfig = "skip-verify"
	}
	change(config)
	db, err := sql.Open("mysql", config.FormatDSN())
	must(err)
	return db
}

func nothing(*mysql.Config) {}

func table(name string, rows *sql.Rows, err error) {
	if err != nil {
		refused(name, err)
		return
	}
	for {
		columns, err := rows.ColumnTypes()
		must(err)
		values, pointers := make([]interface{}, len(columns)), make([]interface{}, len(columns))
		for n := range values {
			pointers[n] = &values[n]
		}
		for rows.Next() {
			must(rows.Scan(pointers...))
			for n, column := range columns {
				nullable, _ := column.Nullable()
				check(fmt.Sprintf("%s.%s", name, column.Name()), column.DatabaseTypeName(), nullable, values[n])
			}
		}
		if rows.Err() != nil || !rows.NextResultSet() {
			break
		}
	}
	if rows.Err() != nil {
		refused(name, rows.Err())
	}
	rows.Close()
}

func done(name string, result sql.Result, err error) {
	if err != nil {
		refused(name, err)
		return
	}
	rows, _ := result.RowsAffected()
	id, _ := result.LastInsertId()
	check(name, rows, id)
}

func statements(name string) []string {
	text, err := os.ReadFile(env("SHARED") + "/" + name)
	must(err)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

type way struct {
	name string
	conn *sql.Conn
}

func walk() {
	ctx := context.Background()
	pool := open(false, nothing)
	db, err := pool.Conn(ctx)
	must(err)
	text, err := open(true, nothing).Conn(ctx)
	must(err)
	ask := func(name, query string, arguments ...interface{}) {
		rows, err := db.QueryContext(ctx, query, arguments...)
		table(name, rows, err)
	}
	ask("login", "SELECT CURRENT_USER(), DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode, @@version")
	refused("login.wrong", open(false, func(c *mysql.Config) { c.Passwd = "wrong" }).Ping())
	refused("login.nobody", open(false, func(c *mysql.Config) { c.User = "nobody" }).Ping())
	for _, sql := range append(statements("types.sql"), statements("set-up.sql")...) {
		_, err := db.ExecContext(ctx, sql)
		must(err)
	}
	for _, name := range []string{"types", "special"} {
		ask(name+".text", "SELECT * FROM "+name+" ORDER BY id")
		ask(name+".binary", "SELECT * FROM "+name+" WHERE id > ? ORDER BY id", 0)
	}
	bound := []interface{}{int64(-9223372036854775808), uint64(18446744073709551615), 0.1, "it's \\ \"ö\" 🦀", []byte("\x00\xff\\'\x1a"), nil,
		time.Date(2024, 2, 29, 12, 34, 56, 1000, time.UTC), "1000-01-01", "-100:00:00.000005", "1234567890.1234"}
	ways := []way{{"text", text}, {"binary", db}}
	for _, way := range ways {
		result, err := way.conn.ExecContext(ctx, "INSERT INTO bound (i, u, d, s, b, n, dt, da, ti, de) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", bound...)
		done("bound."+way.name, result, err)
		rows, err := way.conn.QueryContext(ctx, "SELECT * FROM bound WHERE s = ? AND d = ?", bound[3], bound[2])
		table("bound."+way.name+".read", rows, err)
	}
	statement, err := db.PrepareContext(ctx, "SELECT ? + 1")
	must(err)
	for n := 0; n < 50; n++ {
		var sum int
		must(statement.QueryRow(n).Scan(&sum))
		if sum != n+1 {
			panic("a wrong sum")
		}
	}
	check("prepared", "50 sums")
	ask("results", "SELECT 1 AS a; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two', NULL; DO 0; SELECT 3")
	// No error in a later result: this version of the driver (1.5.0) waits for ever then, before any server.
	ask("call", "CALL two_results(20, @out)")
	ask("call.out", "SELECT @out")
	for _, sql := range []string{"SELEC 1", "SELECT * FROM nowhere", "INSERT INTO types (id) VALUES (1)", "INSERT INTO keyed (v) VALUES (NULL)", "SELECT * FROM mysql.user"} {
		_, err := db.ExecContext(ctx, sql)
		refused("error.text", err)
		_, err = db.PrepareContext(ctx, sql)
		if err == nil {
			_, err = db.ExecContext(ctx, sql+" -- ?")
		}
		refused("error.binary", err)
	}
	load := "LOAD DATA LOCAL INFILE '" + env("SHARED") + "/rows.tsv%s' INTO TABLE loaded CHARACTER SET utf8mb4"
	result, err := db.ExecContext(ctx, fmt.Sprintf(load, ""))
	done("infile", result, err)
	ask("infile.rows", "SELECT * FROM loaded ORDER BY id")
	_, err = db.ExecContext(ctx, fmt.Sprintf(load, ".nowhere"))
	refused("infile.missing", err)
	ask("infile.after", "SELECT 'after it'")

	for _, commit := range []bool{false, true} {
		transaction, err := db.BeginTx(ctx, nil)
		must(err)
		result, err := transaction.Exec("INSERT INTO keyed (k) VALUES (?), (?)", "t1", "t2")
		done("transaction", result, err)
		if commit {
			must(transaction.Commit())
		} else {
			must(transaction.Rollback())
		}
		ask("transaction.count", "SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'")
	}
	for _, megabytes := range []int{1, 17} {
		data := bytes.Repeat([]byte("0123456789abcdef\x00\xff'\\\n\r\x1a\"qrstuvw"), megabytes<<15)
		for _, way := range ways {
			_, err := way.conn.ExecContext(ctx, "REPLACE INTO large VALUES (?, ?)", megabytes, data)
			must(err)
			var sum string
			var read []byte
			must(way.conn.QueryRowContext(ctx, "SELECT SHA2(data, 256), data FROM large WHERE id = ?", megabytes).Scan(&sum, &read))
			if !bytes.Equal(read, data) || sum != fmt.Sprintf("%x", sha256.Sum256(data)) {
				panic(way.name + ": other bytes")
			}
		}
		check("large", megabytes, len(data))
	}
	for n := 0; n < 300; n++ {
		_, err := pool.Exec("INSERT INTO keyed (k, v) VALUES (?, ?)", fmt.Sprintf("m%d", n), n)
		must(err)
	}
	ask("many", "SELECT COUNT(*), SUM(v), MAX(id) FROM keyed WHERE k LIKE 'm%'")
	refused("timeout", func() error {
		_, err := open(false, func(c *mysql.Config) { c.ReadTimeout = time.Second }).Exec("DO SLEEP(4)")
		return err
	}())
	// A context that ends closes the connection; the pool makes another.
	limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = pool.ExecContext(limited, "DO SLEEP(4)")
	check("cancelled", err.Error())
	must(pool.Ping())
	ask("end", "SELECT 'still here'")
}

func failover() {
	ctx := context.Background()
	pool := open(false, nothing)
	idle, err := pool.Conn(ctx)
	must(err)
	busy, err := pool.Conn(ctx)
	must(err)
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)",
		"SET SESSION lock_wait_timeout = 4242",
		"SET @note = 'still 🦀'",
	} {
		_, err := idle.ExecContext(ctx, sql)
		must(err)
	}
	statement, err := idle.PrepareContext(ctx, "SELECT ? + ?")
	must(err)
	sum := func(a, b int) (result int) {
		must(statement.QueryRow(a, b).Scan(&result))
		return
	}
	if sum(1, 2) != 3 {
		panic("a wrong sum")
	}
	one := func(sql string) (result string) {
		must(idle.QueryRowContext(ctx, sql).Scan(&result))
		return
	}
	before := one("SELECT @@server_id")
	transaction, err := busy.BeginTx(ctx, nil)
	must(err)
	_, err = transaction.Exec("INSERT INTO survived (a) VALUES ('lost')")
	must(err)
	fmt.Println("ready")
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if line != "go\n" {
		panic("not told to go")
	}
	check("prepared", fmt.Sprint(sum(20, 22)))
	check("variables", one("SELECT CONCAT(@@lock_wait_timeout, ' ', @note)"))
	if one("SELECT @@server_id") != before {
		check("moved", "yes")
	}
	_, err = transaction.Exec("INSERT INTO survived (a) VALUES ('lost too')")
	var told *mysql.MySQLError
	if errors.As(err, &told) {
		check("transaction", fmt.Sprint(told.Number))
	}
	must(transaction.Rollback())
	transaction, err = busy.BeginTx(ctx, nil)
	must(err)
	_, err = transaction.Exec("INSERT INTO survived (a) VALUES ('again')")
	must(err)
	must(transaction.Commit())
	check("again", one("SELECT GROUP_CONCAT(a) FROM survived"))
}

func main() {
	if os.Args[1] == "failover" {
		failover()
	} else {
		walk()
	}
}
