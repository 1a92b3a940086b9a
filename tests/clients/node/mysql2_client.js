// mysql2 from npm, its promise interface.
'use strict';

const fs = require('node:fs');
const mysql = require('mysql2/promise');
const scenario = require('./scenario.js');

// The driver asks to be told of state changes. Tandem has the server report more than it does by itself: the
// flag (0x4000) and what it announces may differ, nothing else.
function untracked(result) {
  if (Array.isArray(result)) return result.map(untracked);
  if (result?.constructor?.name !== 'ResultSetHeader') return result;
  const { stateChanges: _, ...rest } = result;
  return { ...rest, serverStatus: rest.serverStatus & ~0x4000 };
}

const account = ({ user, password }) => ({
  user: user ?? scenario.user,
  password: password ?? scenario.password,
  database: scenario.database,
});

scenario.run({
  connect: (options) =>
    mysql.createConnection({
      host: scenario.host,
      port: scenario.port,
      ...account(options),
      charset: 'utf8mb4_general_ci',
      timezone: 'Z',
      supportBigNumbers: true,
      bigNumberStrings: true,
      multipleStatements: true,
      infileStreamFactory: (path) => fs.createReadStream(path),
      ssl: scenario.tls ? { rejectUnauthorized: false } : undefined,
    }),
  encrypted: (connection) => Boolean(connection.connection.stream.encrypted),
  query: async (connection, sql, values) => untracked((await connection.query(sql, values))[0]),
  // It takes no BigInt as a parameter.
  execute: async (connection, sql, values) =>
    untracked(
      (await connection.execute(sql, values?.map((value) => (typeof value === 'bigint' ? String(value) : value))))[0],
    ),
  results: async (connection, sql) => untracked((await connection.query(sql))[0]),
  many: async (connection, rows) => untracked((await connection.query('INSERT INTO keyed (k, v) VALUES ?', [rows]))[0]),
  streamed: (connection, sql) =>
    new Promise((done, failed) => {
      let rows = 0;
      connection.connection.query(sql).on('result', () => rows++).on('error', failed).on('end', () => done(rows));
    }),
  slow: (connection) => connection.query({ sql: 'SELECT SLEEP(4)', timeout: 1000 }),
  changeUser: (connection) => connection.changeUser(account({})),
  reset: (connection) => connection.reset?.(),
});
