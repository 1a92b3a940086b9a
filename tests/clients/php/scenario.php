<?php
// What mysqli and PDO share.

function env(string $name): string { return getenv("CLIENT_$name"); }

function show($value): string {
    if (is_array($value)) {
        $parts = [];
        foreach ($value as $name => $each) $parts[] = (is_int($name) ? '' : "$name: ") . show($each);
        return '[' . implode(', ', $parts) . ']';
    }
    if (is_string($value) && strlen($value) > 200) return 'string of ' . strlen($value) . ', md5 ' . md5($value);
    if (is_string($value) && (!preg_match('//u', $value) || preg_match('/[\x00-\x1f]/', $value))) return 'hex ' . bin2hex($value);
    return var_export($value, true);
}

function check(string $name, $value): void { echo "check $name: ", show($value), "\n"; }

function statements(string $name): array {
    return array_filter(file(env('SHARED') . "/$name", FILE_IGNORE_NEW_LINES), 'trim');
}

function refused(string $name, callable $what, callable $describe): void {
    try {
        $what();
    } catch (Exception $error) {
        check($name, $describe($error));
        return;
    }
    throw new Error("$name: no error");
}

// Not `assert`, which Debian's settings leave out with all that stands in it.
function must(bool $holds): void {
    if (!$holds) throw new Error('this must hold');
}

function ready(): void {
    echo "ready\n";
    must(fgets(STDIN) === "go\n");
}

const IDENTITY = 'SELECT CURRENT_USER(), DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode, @@version';
const ERRORS = [
    '1064' => 'SELEC 1',
    '1146' => 'SELECT * FROM nowhere',
    '1062' => 'INSERT INTO types (id) VALUES (1)',
    '1048' => 'INSERT INTO keyed (v) VALUES (NULL)',
    '1142' => 'SELECT * FROM mysql.user',
];
const MULTI = "SELECT 1 AS a; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two', NULL; DO 0; SELECT 3";
const SURVIVED = 'CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)';
