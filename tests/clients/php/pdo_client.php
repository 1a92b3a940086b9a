<?php
// PHP's PDO on mysqlnd: emulated and real prepared statements.
require __DIR__ . '/scenario.php';

function login(string $user = null, string $password = null): PDO {
    $options = [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::MYSQL_ATTR_LOCAL_INFILE => true,
        PDO::MYSQL_ATTR_FOUND_ROWS => true,
    ];
    if (env('TLS') === 'on') {
        // Any of the SSL options turns TLS on.
        $options += [PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT => false, PDO::MYSQL_ATTR_SSL_CIPHER => 'DEFAULT'];
    }
    $dsn = sprintf('mysql:host=%s;port=%d;dbname=%s;charset=utf8mb4', env('HOST'), env('PORT'), env('DATABASE'));
    return new PDO($dsn, $user ?? env('USER'), $password ?? env('PASSWORD'), $options);
}

$describe = fn (PDOException $error) => [$error->getCode(), $error->errorInfo ?? null, $error->getMessage()];

function prepared(PDO $db, bool $real, string $sql, array $values = []): PDOStatement {
    $db->setAttribute(PDO::ATTR_EMULATE_PREPARES, !$real);
    $statement = $db->prepare($sql);
    foreach ($values as $n => $value) {
        $statement->bindValue($n + 1, $value, is_int($value) ? PDO::PARAM_INT : (is_null($value) ? PDO::PARAM_NULL : PDO::PARAM_STR));
    }
    $statement->execute();
    return $statement;
}

function table(string $name, PDOStatement $statement): void {
    while ($row = $statement->fetch(PDO::FETCH_NUM)) {
        foreach ($row as $n => $value) {
            $meta = $statement->getColumnMeta($n);
            check("$name.$row[0].$meta[name]", ($meta['native_type'] ?? '?') . " $meta[len] " . show($value));
        }
    }
}

function results(PDO $db, string $name, string $sql): void {
    $statement = prepared($db, false, $sql);
    do {
        check($name, $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_NUM) : $statement->rowCount());
    } while ($statement->nextRowset());
}

function walk(callable $describe): void {
    $db = login();
    check('login', $db->query(IDENTITY)->fetch(PDO::FETCH_NUM));
    check('version', $db->getAttribute(PDO::ATTR_SERVER_VERSION));
    refused('login.wrong', fn () => login(null, 'wrong'), $describe);
    refused('login.nobody', fn () => login('nobody'), $describe);
    foreach ([...statements('types.sql'), ...statements('set-up.sql')] as $sql) $db->exec($sql);
    $insert = 'INSERT INTO bound (i, u, d, s, b, n, dt, da, ti, de) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)';
    $values = [PHP_INT_MIN, '18446744073709551615', 0.1, "it's \\ \"ö\" 🦀", "\x00\xff\\'\x1a", null,
        '2024-02-29 12:34:56.000001', '1000-01-01', '-100:00:00.000005', '1234567890.1234'];
    foreach ([false, true] as $real) {
        $way = $real ? 'binary' : 'text';
        foreach (['types', 'special'] as $name) table("$name.$way", prepared($db, $real, "SELECT * FROM $name ORDER BY id"));
        check("bound.$way", [prepared($db, $real, $insert, $values)->rowCount(), $db->lastInsertId()]);
        table("bound.$way.read", prepared($db, $real, 'SELECT * FROM bound WHERE s = ?', [$values[3]]));
        foreach (ERRORS as $name => $sql) refused("error.$name.$way", fn () => prepared($db, $real, $sql), $describe);
        foreach ([1, 17] as $megabytes) {
            $data = str_repeat(implode('', array_map('chr', range(0, 255))), $megabytes * 4096);
            prepared($db, $real, 'REPLACE INTO large VALUES (?, ?)', [$megabytes, $data]);
            $row = prepared($db, $real, "SELECT SHA2(data, 256), data, 'behind it' FROM large WHERE id = ?", [$megabytes])->fetch(PDO::FETCH_NUM);
            if ($row[1] !== $data) throw new Error('other bytes');
            check("large.$megabytes.$way", $row);
        }
    }
    results($db, 'results', MULTI);
    refused('results.error', fn () => results($db, 'results.error', 'SELECT 1; SELECT * FROM nowhere; SELECT 2'), $describe);
    results($db, 'call', 'CALL two_results(20, @out)');
    check('call.out', $db->query('SELECT @out')->fetchAll(PDO::FETCH_NUM));
    $file = env('SHARED') . '/rows.tsv';
    check('infile', $db->exec("LOAD DATA LOCAL INFILE '$file' INTO TABLE loaded CHARACTER SET utf8mb4"));
    check('infile.rows', $db->query('SELECT * FROM loaded ORDER BY id')->fetchAll(PDO::FETCH_NUM));
    $count = fn () => $db->query("SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'")->fetchColumn();
    $db->beginTransaction();
    check('transaction.insert', [$db->exec("INSERT INTO keyed (k) VALUES ('t1'), ('t2')"), $db->lastInsertId()]);
    check('transaction.inside', $count());
    $db->rollBack();
    check('transaction.rolled_back', $count());
    $db->beginTransaction();
    $db->exec("INSERT INTO keyed (k) VALUES ('t3')");
    $db->commit();
    check('transaction.committed', [$count(), $db->inTransaction()]);
    // FOUND_ROWS was asked for at login: rows that match count, not rows that change.
    check('transaction.found', $db->exec("UPDATE keyed SET v = 0 WHERE k LIKE 't%'"));
    $db->exec('INSERT INTO keyed (k, v) VALUES ' . implode(', ', array_map(fn ($n) => "('m$n', $n)", range(1, 1000))));
    $db->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
    $all = '';
    foreach ($db->query('SELECT k FROM keyed ORDER BY id', PDO::FETCH_NUM) as $row) $all .= $row[0];
    check('streamed', md5($all));
    check('end', $db->query("SELECT 'still here'")->fetchAll(PDO::FETCH_NUM));
}

function failover(): void {
    [$idle, $busy] = [login(), login()];
    $idle->setAttribute(PDO::ATTR_EMULATE_PREPARES, false);
    $idle->exec(SURVIVED);
    $idle->exec('SET SESSION lock_wait_timeout = 4242');
    $idle->exec("SET @note = 'still 🦀'");
    $sum = $idle->prepare('SELECT ? + ?');
    $of = function (int $a, int $b) use ($sum) {
        $sum->execute([$a, $b]);
        return (int) $sum->fetchAll(PDO::FETCH_NUM)[0][0];
    };
    must($of(1, 2) === 3);
    $one = fn ($sql) => implode(' ', $idle->query($sql)->fetchAll(PDO::FETCH_NUM)[0]);
    $before = $one('SELECT @@server_id');
    $busy->beginTransaction();
    $busy->exec("INSERT INTO survived (a) VALUES ('lost')");
    ready();
    echo 'check prepared: ', $of(20, 22), "\n";
    echo 'check variables: ', $one('SELECT @@lock_wait_timeout, @note'), "\n";
    echo 'check moved: ', $one('SELECT @@server_id') !== $before ? 'yes' : 'no', "\n";
    try {
        $busy->exec("INSERT INTO survived (a) VALUES ('lost too')");
    } catch (PDOException $error) {
        echo 'check transaction: ', $error->errorInfo[1], "\n";
    }
    // PDO asks the last answer's flags whether a transaction is open; an error has none.
    $busy->inTransaction() ? $busy->rollBack() : $busy->exec('ROLLBACK');
    $busy->beginTransaction();
    $busy->exec("INSERT INTO survived (a) VALUES ('again')");
    $busy->commit();
    echo 'check again: ', $one('SELECT GROUP_CONCAT(a) FROM survived'), "\n";
}

$argv[1] === 'failover' ? failover() : walk($describe);
