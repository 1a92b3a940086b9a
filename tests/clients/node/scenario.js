// What both Node.js drivers do: the same calls, directly and through the proxy.
//
// Each line of output is `check NAME: VALUE`; nothing is printed that differs by nature. A driver is an object with
// `connect(options)`, `query`, `execute` (binary protocol), `results` (several statements), `end`.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');

const env = (name) => process.env[`CLIENT_${name}`];
exports.host = env('HOST');
exports.port = Number(env('PORT'));
exports.user = env('USER');
exports.password = env('PASSWORD');
exports.database = env('DATABASE');
exports.tls = env('TLS') === 'on';

const md5 = (data) => crypto.createHash('md5').update(data).digest('hex');

function show(value) {
  if (Buffer.isBuffer(value)) return value.length > 40 ? `Buffer of ${value.length}, md5 ${md5(value)}` : `Buffer ${value.toString('hex')}`;
  if (typeof value === 'string' && value.length > 200) return `string of ${value.length}, md5 ${md5(value)}`;
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Date) return `Date ${isNaN(value) ? 'invalid' : value.toISOString()}`;
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  if (value !== null && typeof value === 'object') {
    return `{${Object.entries(value).map(([name, each]) => `${name}: ${show(each)}`).join(', ')}}`;
  }
  return JSON.stringify(value) ?? String(value);
}

function check(name, value) {
  console.log(`check ${name}: ${typeof value === 'string' ? value : show(value)}`);
}

const statements = (name) =>
  fs.readFileSync(path.join(env('SHARED'), name), 'utf8').split('\n').filter((line) => line.trim());

async function refused(name, what) {
  let answer;
  try {
    answer = await what();
  } catch (error) {
    const message = error.sqlMessage ?? error.message;
    return check(name, `${error.code} ${error.errno} ${error.sqlState} ${message.replace(/\(conn:.*?\)/, '(conn)')}`);
  }
  throw new Error(`${name}: no error but ${show(answer)}`);
}

exports.run = (driver) =>
  (process.argv[2] === 'failover' ? failover(driver) : walk(driver)).then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );

async function walk(driver) {
  const identity =
    'SELECT CURRENT_USER() AS u, DATABASE() AS d, @@character_set_client AS c, @@collation_connection AS n, ' +
    '@@autocommit AS a, @@sql_mode AS m, @@version AS v';
  const connection = await driver.connect({});
  const encrypted = driver.encrypted(connection);
  assert.strictEqual(encrypted ?? exports.tls, exports.tls, 'encrypted');
  check('login', await driver.query(connection, identity));
  await refused('login.wrong', () => driver.connect({ password: 'wrong' }));
  await refused('login.nobody', () => driver.connect({ user: 'nobody' }));
  for (const sql of [...statements('types.sql'), ...statements('set-up.sql')]) await driver.query(connection, sql);

  for (const name of ['types', 'special']) {
    for (const way of ['query', 'execute']) {
      for (const row of await driver[way](connection, `SELECT * FROM ${name} ORDER BY id`)) {
        for (const [column, value] of Object.entries(row)) check(`${name}.${way}.${row.id}.${column}`, show(value));
      }
    }
  }
  const bound = [
    -9223372036854775808n, 18446744073709551615n, 0.1, "it's \\ \"ö\" 🦀", Buffer.from("\0\xff\\'\x1a", 'latin1'), null,
    new Date(Date.UTC(2024, 1, 29, 12, 34, 56, 1)), '1000-01-01', '-100:00:00.000005', '1234567890.1234',
  ];
  const insert = 'INSERT INTO bound (i, u, d, s, b, n, dt, da, ti, de) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)';
  for (const way of ['query', 'execute']) {
    check(`bound.${way}`, await driver[way](connection, insert, bound));
    check(`bound.${way}.read`, await driver[way](connection, 'SELECT * FROM bound WHERE s = ? AND d = ?', [bound[3], bound[2]]));
  }
  // The same statement again and again: prepared once.
  const sums = [];
  for (let n = 0; n < 50; n++) sums.push(Number((await driver.execute(connection, 'SELECT ? + 1 AS s', [n]))[0].s));
  check('prepared', sums);

  check('results', await driver.results(connection, "SELECT 1 AS a; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two' AS b, NULL AS c; DO 0; SELECT 3 AS d"));
  await refused('results.error', () => driver.results(connection, 'SELECT 1; SELECT * FROM nowhere; SELECT 2'));
  await refused('results.error.late', () => driver.results(connection, 'CALL fails_late()'));
  check('call', await driver.results(connection, 'CALL two_results(20, @out); SELECT @out AS o'));
  check('call.binary', await driver.execute(connection, 'CALL two_results(?, @out)', [7]));

  for (const [name, sql] of [
    ['1064', 'SELEC 1'],
    ['1146', 'SELECT * FROM nowhere'],
    ['1062', 'INSERT INTO types (id) VALUES (1)'],
    ['1048', 'INSERT INTO keyed (v) VALUES (NULL)'],
    ['1142', 'SELECT * FROM mysql.user'],
  ]) {
    await refused(`error.${name}`, () => driver.query(connection, sql));
    await refused(`error.${name}.binary`, () => driver.execute(connection, sql));
  }

  const file = path.join(env('SHARED'), 'rows.tsv');
  const load = (name) => driver.query(connection, `LOAD DATA LOCAL INFILE '${name}' INTO TABLE loaded CHARACTER SET utf8mb4`);
  check('infile', await load(file));
  check('infile.rows', await driver.query(connection, 'SELECT * FROM loaded ORDER BY id'));
  await refused('infile.missing', () => load(`${file}.nowhere`));
  check('infile.after', await driver.query(connection, "SELECT 'after it' AS a"));

  const count = async () => Number((await driver.query(connection, "SELECT COUNT(*) AS n FROM keyed WHERE k LIKE 't%'"))[0].n);
  await connection.beginTransaction();
  check('transaction.insert', await driver.execute(connection, 'INSERT INTO keyed (k) VALUES (?), (?)', ['t1', 't2']));
  check('transaction.inside', await count());
  await connection.rollback();
  check('transaction.rolled_back', await count());
  await connection.beginTransaction();
  await driver.query(connection, "INSERT INTO keyed (k) VALUES ('t3')");
  await connection.commit();
  check('transaction.committed', await count());
  check('transaction.affected', await driver.query(connection, "UPDATE keyed SET v = 0 WHERE k LIKE 't%'"));

  for (const megabytes of [1, 17]) {
    const data = Buffer.alloc(megabytes << 20, Buffer.from(Array.from({ length: 256 }, (_, n) => n)));
    for (const way of ['query', 'execute']) {
      await driver[way](connection, 'REPLACE INTO large VALUES (?, ?)', [megabytes, data]);
      const [row] = await driver[way](connection, "SELECT SHA2(data, 256) AS m, data, 'behind it' AS b FROM large WHERE id = ?", [megabytes]);
      assert.ok(row.data.equals(data), `${megabytes} MiB by ${way}: other bytes`);
      check(`large.${megabytes}.${way}`, row);
    }
  }
  check('many', await driver.many(connection, Array.from({ length: 1000 }, (_, n) => [`m${n}`, n])));
  check('many.read', md5(show(await driver.query(connection, "SELECT k, v FROM keyed WHERE k LIKE 'm%' ORDER BY id"))));
  // Sent one behind the other, without waiting.
  check('pipelined', await Promise.all([1, 2, 3, 4, 5].map((n) => driver.query(connection, `SELECT ${n} AS n`))));
  check('streamed', await driver.streamed(connection, 'SELECT id, k FROM keyed ORDER BY id'));
  await refused('timeout', () => driver.slow(connection));
  const other = await driver.connect({});
  await driver.changeUser(other);
  check('change_user', await driver.query(other, identity));
  await driver.reset(other);
  await other.ping();
  check('end', await driver.query(other, "SELECT 'still here' AS e"));
  await other.end();
}

async function failover(driver) {
  const idle = await driver.connect({});
  const busy = await driver.connect({});
  const one = async (sql, values) => Object.values((await driver.query(idle, sql, values))[0]);
  await driver.query(idle, 'CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)');
  await driver.query(idle, 'SET SESSION lock_wait_timeout = 4242');
  await driver.query(idle, "SET @note = 'still 🦀'");
  const sum = async (a, b) => Number((await driver.execute(idle, 'SELECT ? + ? AS s', [a, b]))[0].s);
  assert.strictEqual(await sum(1, 2), 3);
  const [before] = await one('SELECT @@server_id AS s');
  await busy.beginTransaction();
  await driver.execute(busy, 'INSERT INTO survived (a) VALUES (?)', ['lost']);
  console.log('ready');
  const line = await new Promise((heard) => readline.createInterface({ input: process.stdin }).once('line', heard));
  assert.strictEqual(line, 'go');
  check('prepared', String(await sum(20, 22)));
  check('variables', (await one('SELECT @@lock_wait_timeout AS l, @note AS n')).join(' '));
  check('moved', (await one('SELECT @@server_id AS s'))[0] !== before ? 'yes' : 'no');
  try {
    await driver.execute(busy, 'INSERT INTO survived (a) VALUES (?)', ['lost too']);
  } catch (error) {
    check('transaction', String(error.errno));
  }
  await busy.rollback();
  await busy.beginTransaction();
  await driver.execute(busy, 'INSERT INTO survived (a) VALUES (?)', ['again']);
  await busy.commit();
  check('again', (await one('SELECT GROUP_CONCAT(a) AS g FROM survived'))[0]);
}
