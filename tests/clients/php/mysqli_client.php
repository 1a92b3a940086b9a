<?php
// PHP's mysqli on mysqlnd: text, prepared statements, multi_query, change_user.
require __DIR__ . '/scenario.php';
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);

function login(string $user = null, string $password = null, int $timeout = null): mysqli {
    $db = mysqli_init();
    $db->options(MYSQLI_OPT_LOCAL_INFILE, true);
    if ($timeout) $db->options(MYSQLI_OPT_READ_TIMEOUT, $timeout);
    $flags = env('TLS') === 'on' ? MYSQLI_CLIENT_SSL | MYSQLI_CLIENT_SSL_DONT_VERIFY_SERVER_CERT : 0;
    $db->real_connect(env('HOST'), $user ?? env('USER'), $password ?? env('PASSWORD'), env('DATABASE'), (int) env('PORT'), null, $flags);
    $db->set_charset('utf8mb4');
    return $db;
}

$describe = fn ($error) => [$error->getCode(), method_exists($error, 'getSqlState') ? $error->getSqlState() : null, $error->getMessage()];

function table(string $name, mysqli_result $result): void {
    $fields = $result->fetch_fields();
    while ($row = $result->fetch_row()) {
        foreach ($row as $n => $value) {
            $field = $fields[$n];
            check("$name.$row[0].$field->name", "$field->type/$field->flags/$field->length/$field->charsetnr/$field->decimals " . show($value));
        }
    }
}

function results(mysqli $db, string $name, string $sql): void {
    $db->multi_query($sql);
    do {
        $result = $db->store_result();
        check($name, $result ? $result->fetch_all() : [$db->affected_rows, $db->insert_id]);
    } while ($db->more_results() && $db->next_result());
}

function walk(callable $describe): void {
    $db = login();
    check('login', $db->query(IDENTITY)->fetch_row());
    check('version', [$db->server_info, $db->server_version, $db->protocol_version]);
    refused('login.wrong', fn () => login(null, 'wrong'), $describe);
    refused('login.nobody', fn () => login('nobody'), $describe);
    foreach ([...statements('types.sql'), ...statements('set-up.sql')] as $sql) $db->query($sql);
    foreach (['types', 'special'] as $name) {
        table("$name.text", $db->query("SELECT * FROM $name ORDER BY id"));
        $statement = $db->prepare("SELECT * FROM $name ORDER BY id");
        $statement->execute();
        table("$name.binary", $statement->get_result());
    }
    $insert = $db->prepare('INSERT INTO bound (i, u, d, s, b, n, dt, da, ti, de) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
    [$i, $u, $d, $s, $b, $n] = [PHP_INT_MIN, '18446744073709551615', 0.1, "it's \\ \"ö\" 🦀", null, null];
    [$dt, $da, $ti, $de] = ['2024-02-29 12:34:56.000001', '1000-01-01', '-100:00:00.000005', '1234567890.1234'];
    $insert->bind_param('isdsbissss', $i, $u, $d, $s, $b, $n, $dt, $da, $ti, $de);
    $insert->send_long_data(4, "\x00\xff\\'");
    $insert->send_long_data(4, "\x1a");
    $insert->execute();
    check('bound', [$insert->affected_rows, $insert->insert_id]);
    $read = $db->prepare('SELECT * FROM bound WHERE s = ? AND d = ?');
    $read->execute([$s, $d]);
    check('bound.read', $read->get_result()->fetch_all());
    // A cursor: COM_STMT_FETCH, five rows at a time.
    $cursor = $db->prepare('SELECT id, t1 FROM types UNION SELECT seq.n, NULL FROM (SELECT 11 AS n UNION SELECT 12 UNION SELECT 13) AS seq');
    $cursor->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);
    $cursor->execute();
    $cursor->bind_result($first, $second);
    while ($cursor->fetch()) check('cursor', [$first, $second]);
    $cursor->close();

    results($db, 'results', MULTI);
    refused('results.error', fn () => results($db, 'results.error', 'SELECT 1; SELECT * FROM nowhere; SELECT 2'), $describe);
    refused('results.error.late', fn () => results($db, 'results.error.late', 'CALL fails_late()'), $describe);
    results($db, 'call', 'CALL two_results(20, @out); SELECT @out');
    $call = $db->prepare('CALL two_results(?, @out)');
    $call->execute([7]);
    do {
        $result = $call->get_result();
        check('call.binary', $result ? $result->fetch_all() : 'done');
    } while ($call->next_result());
    $call->close();
    foreach (ERRORS as $name => $sql) {
        refused("error.$name", fn () => $db->query($sql), $describe);
        refused("error.$name.binary", fn () => $db->prepare($sql)->execute(), $describe);
    }
    $file = env('SHARED') . '/rows.tsv';
    $db->query("LOAD DATA LOCAL INFILE '$file' INTO TABLE loaded CHARACTER SET utf8mb4");
    check('infile', [$db->affected_rows, $db->info]);
    check('infile.rows', $db->query('SELECT * FROM loaded ORDER BY id')->fetch_all());
    refused('infile.missing', fn () => @$db->query("LOAD DATA LOCAL INFILE '$file.nowhere' INTO TABLE loaded"), $describe);
    check('infile.after', $db->query("SELECT 'after it'")->fetch_all());

    $count = fn () => $db->query("SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'")->fetch_row();
    $db->begin_transaction();
    $db->query("INSERT INTO keyed (k) VALUES ('t1'), ('t2')");
    check('transaction.insert', [$db->affected_rows, $db->insert_id]);
    check('transaction.inside', $count());
    $db->rollback();
    check('transaction.rolled_back', $count());
    $db->autocommit(false);
    $db->query("INSERT INTO keyed (k) VALUES ('t3')");
    $db->commit();
    $db->autocommit(true);
    check('transaction.committed', $count());
    $db->query("UPDATE keyed SET v = 0 WHERE k LIKE 't%'");
    check('transaction.affected', [$db->affected_rows, $db->info]);

    foreach ([1, 17] as $megabytes) {
        $data = str_repeat(implode('', array_map('chr', range(0, 255))), $megabytes * 4096);
        $replace = $db->prepare('REPLACE INTO large VALUES (?, ?)');
        $replace->execute([$megabytes, $data]);
        $read = $db->prepare("SELECT SHA2(data, 256), data, 'behind it' FROM large WHERE id = ?");
        $read->execute([$megabytes]);
        check("large.$megabytes.binary", $read->get_result()->fetch_row());
        $db->query("REPLACE INTO large VALUES ($megabytes, '" . $db->real_escape_string($data) . "')");
        $row = $db->query("SELECT SHA2(data, 256), data, 'behind it' FROM large WHERE id = $megabytes")->fetch_row();
        if ($row[1] !== $data) throw new Error('other bytes');
        check("large.$megabytes.text", $row);
    }
    $db->query('INSERT INTO keyed (k, v) VALUES ' . implode(', ', array_map(fn ($n) => "('m$n', $n)", range(1, 1000))));
    check('many', [$db->affected_rows, $db->info]);
    $streamed = $db->query('SELECT k FROM keyed ORDER BY id', MYSQLI_USE_RESULT);
    $all = '';
    while ($row = $streamed->fetch_row()) $all .= $row[0];
    check('streamed', md5($all));
    // Sent, and asked for later.
    $db->query("SELECT 'asynchronous'", MYSQLI_ASYNC);
    check('asynchronous', $db->reap_async_query()->fetch_all());
    check('warnings', [$db->query("SELECT CAST('x' AS SIGNED)")->fetch_all(), $db->warning_count, $db->get_warnings()->message]);
    check('stat', explode(':', $db->stat())[0]);
    $slow = login(null, null, 1);
    refused('timeout', fn () => @$slow->query('SELECT SLEEP(4)'), $describe);
    $db->change_user(env('USER'), env('PASSWORD'), env('DATABASE'));
    check('change_user', $db->query(IDENTITY)->fetch_row());
    refused('change_user.wrong', fn () => login()->change_user(env('USER'), 'wrong', env('DATABASE')) ?: throw new Exception('false'), $describe);
    check('end', $db->query("SELECT 'still here'")->fetch_all());
}

function failover(): void {
    [$idle, $busy] = [login(), login()];
    $idle->query(SURVIVED);
    $idle->query('SET SESSION lock_wait_timeout = 4242');
    $idle->query("SET @note = 'still 🦀'");
    $sum = $idle->prepare('SELECT ? + ?');
    $of = function (int $a, int $b) use ($sum) {
        $sum->bind_param('ii', $a, $b);
        $sum->execute();
        return (int) $sum->get_result()->fetch_row()[0];
    };
    must($of(1, 2) === 3);
    $one = fn ($sql) => implode(' ', $idle->query($sql)->fetch_row());
    $before = $one('SELECT @@server_id');
    $busy->begin_transaction();
    $busy->query("INSERT INTO survived (a) VALUES ('lost')");
    ready();
    echo 'check prepared: ', $of(20, 22), "\n";
    echo 'check variables: ', $one('SELECT @@lock_wait_timeout, @note'), "\n";
    echo 'check moved: ', $one('SELECT @@server_id') !== $before ? 'yes' : 'no', "\n";
    try {
        $busy->query("INSERT INTO survived (a) VALUES ('lost too')");
    } catch (mysqli_sql_exception $error) {
        echo 'check transaction: ', $error->getCode(), "\n";
    }
    $busy->rollback();
    $busy->begin_transaction();
    $busy->query("INSERT INTO survived (a) VALUES ('again')");
    $busy->commit();
    echo 'check again: ', $one('SELECT GROUP_CONCAT(a) FROM survived'), "\n";
}

$argv[1] === 'failover' ? failover() : walk($describe);
