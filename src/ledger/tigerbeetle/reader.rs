use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::reconnect::{ClusterSession, Connector, failed};
use super::session::{Reply, Request, RequestError};
use crate::ledger::LedgerError;

/// How many requests may be under way. Those that nobody waits for any more count too: while the cluster is away they
/// cannot be recalled from the client.
const REQUESTS_MAX: usize = 8_192;

/// Look-ups, and the creation of accounts, through a session of their own: they never wait behind a batch of transfers
/// here. The client joins small ones that wait into one request.
pub(super) struct Reader {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

struct Shared {
    connector: Connector,
    current: Mutex<Arc<OnceCell<ClusterSession>>>,
}

impl Reader {
    pub(super) fn new(connector: Connector) -> Self {
        let shared = Shared { connector, current: Mutex::new(Arc::default()) };
        Self { shared: Arc::new(shared), permits: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    pub(super) async fn request(&self, request: Request) -> Result<Reply, LedgerError> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(LedgerError::Overloaded);
        };
        let shared = Arc::clone(&self.shared);
        // A task of its own holds the permit until the reply is here, even if the caller gives up before.
        let task = tokio::spawn(async move {
            let reply = shared.request(request).await;
            drop(permit);
            reply
        });
        task.await.unwrap_or(Err(LedgerError::ShutDown))
    }
}

impl Shared {
    /// A request that was lost with an evicted session is made once more on a new one: it changes nothing, or makes
    /// accounts that are there already.
    async fn request(&self, request: Request) -> Result<Reply, LedgerError> {
        match self.try_request(request.clone()).await {
            Err(error) if !error.is_too_much_data() => self.try_request(request).await.map_err(failed),
            result => result.map_err(failed),
        }
    }

    async fn try_request(&self, request: Request) -> Result<Reply, RequestError> {
        let cell = Arc::clone(&*self.current.lock().await);
        let session = cell.get_or_init(|| self.connector.session()).await;
        let result = session.request(request).await;
        if result.as_ref().is_err_and(|error| !error.is_too_much_data()) {
            let mut current = self.current.lock().await;
            if Arc::ptr_eq(&current, &cell) {
                *current = Arc::default();
            }
        }
        result
    }
}
