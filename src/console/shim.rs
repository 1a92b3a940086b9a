//! The MySQL protocol, by opensrv-mysql. No other file names it.

use std::io;

use async_trait::async_trait;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use opensrv_mysql::{
    AsyncMysqlIntermediary, AsyncMysqlShim, Column, ColumnFlags, ColumnType, ErrorKind, InitWriter,
    OkResponse, ParamParser, QueryResultWriter, StatementMetaWriter,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{Answer, Asker, Refusal, VERSION, answer};
use super::orders;
use super::statement::Statement;
use super::tables::Table;
use super::{ConsoleError, Handles};

pub(super) async fn serve<S>(stream: S, id: u32, handles: Handles) -> Result<(), ConsoleError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let asker = Asker { connection_id: id, user: handles.admin.clone() };
    let shim = Shim { asker, handles, salt: salt()? };
    let (input, output) = tokio::io::split(stream);
    AsyncMysqlIntermediary::run_on(shim, input, output).await?;
    Ok(())
}

/// One console session.
struct Shim {
    asker: Asker,
    handles: Handles,
    salt: [u8; 20],
}

/// What clients hash their password with. opensrv's own is the same for every connection, which would
/// let an answer that was overheard once be given again. The bytes are printable, without the two that
/// MySQL's own servers avoid (NUL ends the field, `$` separates fields of stored hashes).
fn salt() -> Result<[u8; 20], ConsoleError> {
    let mut salt = [0; 20];
    SystemRandom::new().fill(&mut salt).map_err(|_| ConsoleError::NoRandomness)?;
    Ok(salt.map(|byte| b'0' + byte % 64))
}

impl Refusal {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownStatement | Self::Malformed(_) => ErrorKind::ER_PARSE_ERROR,
            Self::Empty => ErrorKind::ER_EMPTY_QUERY,
            Self::NotBuilt(_) => ErrorKind::ER_NOT_SUPPORTED_YET,
            Self::UnknownMaster { .. } => ErrorKind::ER_WRONG_ARGUMENTS,
            Self::UnknownSession(_) => ErrorKind::ER_NO_SUCH_THREAD,
            Self::NotDone(_) => ErrorKind::ER_UNKNOWN_ERROR,
            Self::UnknownVariable(_) => ErrorKind::ER_UNKNOWN_SYSTEM_VARIABLE,
            Self::UnknownFunction(_) => ErrorKind::ER_SP_DOES_NOT_EXIST,
        }
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Shim {
    type Error = io::Error;

    fn version(&self) -> String {
        VERSION.to_owned()
    }

    fn connect_id(&self) -> u32 {
        self.asker.connection_id
    }

    fn salt(&self) -> [u8; 20] {
        self.salt
    }

    async fn on_query<'a>(
        &'a mut self,
        query: &'a str,
        results: QueryResultWriter<'a, W>,
    ) -> Result<(), Self::Error> {
        let answer = match Statement::parse(query) {
            Statement::Question(question) => {
                answer(&question, &self.asker, &self.handles.picture())
            }
            Statement::Order(order) => orders::carry_out(&order, &self.asker, &self.handles).await,
        };
        match answer {
            Answer::Table(table) => write_table(&table, results).await,
            Answer::Done => results.completed(OkResponse::default()).await,
            Answer::Refused(refusal) => {
                results.error(refusal.kind(), refusal.to_string().as_bytes()).await
            }
        }
    }

    async fn on_init<'a>(
        &'a mut self,
        _schema: &'a str,
        writer: InitWriter<'a, W>,
    ) -> Result<(), Self::Error> {
        // Clients that name a schema in their DSN must get in; there is none to change to.
        writer.ok().await
    }

    async fn on_prepare<'a>(
        &'a mut self,
        _query: &'a str,
        info: StatementMetaWriter<'a, W>,
    ) -> Result<(), Self::Error> {
        info.error(
            ErrorKind::ER_UNSUPPORTED_PS,
            "the console does not prepare statements; send them as text".as_bytes(),
        )
        .await
    }

    async fn on_execute<'a>(
        &'a mut self,
        _id: u32,
        _params: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> Result<(), Self::Error> {
        // Never called: opensrv ends a session that executes what was not prepared.
        results.error(ErrorKind::ER_UNKNOWN_STMT_HANDLER, "no such statement".as_bytes()).await
    }

    async fn on_close<'a>(&'a mut self, _id: u32)
    where
        W: 'async_trait,
    {
    }
}

async fn write_table<W: AsyncWrite + Send + Unpin>(
    table: &Table,
    results: QueryResultWriter<'_, W>,
) -> io::Result<()> {
    let columns: Vec<Column> = table
        .columns
        .iter()
        .map(|name| Column {
            table: String::new(),
            column: name.clone(),
            coltype: ColumnType::MYSQL_TYPE_VAR_STRING,
            colflags: ColumnFlags::empty(),
        })
        .collect();
    let mut rows = results.start(&columns).await?;
    for row in &table.rows {
        rows.write_row(row.iter().map(Option::as_deref)).await?;
    }
    rows.finish().await
}
