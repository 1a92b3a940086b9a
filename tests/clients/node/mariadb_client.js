// mariadb from npm: MariaDB Connector/Node.js, its promise interface. It pipelines, and it sends batches in bulk.
'use strict';

const mariadb = require('mariadb');
const scenario = require('./scenario.js');

const account = ({ user, password }) => ({
  user: user ?? scenario.user,
  password: password ?? scenario.password,
  database: scenario.database,
});

scenario.run({
  connect: (options) =>
    mariadb.createConnection({
      host: scenario.host,
      port: scenario.port,
      ...account(options),
      timezone: 'Z',
      multipleStatements: true,
      permitLocalInfile: true,
      // Needed by MySQL's caching_sha2_password without TLS.
      allowPublicKeyRetrieval: true,
      maxAllowedPacket: 64 << 20,
      connectTimeout: 5000,
      ssl: scenario.tls ? { rejectUnauthorized: false } : false,
    }),
  encrypted: () => undefined,
  query: (connection, sql, values) => connection.query(sql, values),
  execute: (connection, sql, values) => connection.execute(sql, values),
  results: (connection, sql) => connection.query(sql),
  many: (connection, rows) => connection.batch('INSERT INTO keyed (k, v) VALUES (?, ?)', rows),
  streamed: async (connection, sql) => {
    let rows = 0;
    for await (const _ of connection.queryStream(sql)) rows++;
    return rows;
  },
  // Its timeout is the server's, MariaDB's only.
  slow: (connection) =>
    connection.info.isMariaDB()
      ? connection.query({ sql: 'SELECT SLEEP(4)', timeout: 200 })
      : connection.query('SELECT /*+ MAX_EXECUTION_TIME(200) */ COUNT(*) FROM information_schema.columns a, information_schema.columns b, information_schema.columns c'),
  changeUser: (connection) => connection.changeUser(account({})),
  reset: (connection) => connection.reset(),
});
