//! The processes of the server, one for each connection.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time;

use super::cluster::{Cluster, Primary, timed_out};

/// How long a new connection may take to be known, and to end the one before.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(2);

const SELECT_BACKEND: &str = "select pid, backend_start::text from pg_stat_activity where pid = pg_backend_pid()";
/// Ends a backend, and waits until it has ended. No row if there is no such backend any more, which is also so on
/// another server.
const END_BACKEND: &str = "select pg_terminate_backend(pid, 1000) from pg_stat_activity
     where pid = $1 and backend_start::text = $2";

/// A process of the server that serves one connection: its id, and when it began, as text.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pid: i32,
    began: Arc<str>,
}

impl Backend {
    async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let (pid, began): (i32, String) = sqlx::query_as(SELECT_BACKEND).fetch_one(connection).await?;
        Ok(Self { pid, began: began.into() })
    }

    /// Makes sure that what its connection has sent is not carried out any more.
    async fn end(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let end = sqlx::query_scalar::<_, bool>(END_BACKEND).bind(self.pid).bind(&*self.began);
        match end.fetch_optional(connection).await? {
            None | Some(true) => Ok(()),
            Some(false) => Err(timed_out("the connection that was given up does not end")),
        }
    }
}

/// Connects to the host that takes writes, and says who serves the connection.
///
/// The process that served the connection before is ended first, if that was given up: it may still wait for a lock or
/// for a standby. It would be in the way, and what it was to commit could be committed after its callers were told that
/// they must send it again.
pub(super) async fn connect(
    cluster: &Cluster,
    given_up: &mut Option<Backend>,
) -> Result<(Primary, Backend), sqlx::Error> {
    let mut primary = cluster.connect().await?;
    let identify = async {
        if let Some(backend) = &given_up {
            backend.end(&mut primary.connection).await?;
        }
        Backend::of(&mut primary.connection).await
    };
    let backend = time::timeout(IDENTIFY_TIMEOUT, identify).await;
    let backend = backend.unwrap_or_else(|_| Err(timed_out("it did not answer in time")))?;
    *given_up = None;
    Ok((primary, backend))
}
