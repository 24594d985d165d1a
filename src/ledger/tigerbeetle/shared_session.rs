//! The session for look-ups and for the creation of accounts.

use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::connector::{ClusterSession, Connector, into_ledger_error};
use super::session::{Reply, Request, RequestError};
use crate::ledger::LedgerError;

/// The most requests in flight, abandoned ones included: while the cluster is away, the TigerBeetle client keeps each
/// request that it was given.
const REQUESTS_MAX: usize = 8_192;

/// One session that all look-ups and account creations share, so that they never wait behind a batch of transfers in
/// this process. The TigerBeetle client joins small waiting requests into one.
pub(super) struct SharedSession {
    inner: Arc<Inner>,
    permits: Arc<Semaphore>,
}

struct Inner {
    connector: Connector,
    /// The current session. The first request that finds the cell empty connects; the others wait for it.
    current: Mutex<Arc<OnceCell<ClusterSession>>>,
}

impl SharedSession {
    pub(super) fn new(connector: Connector) -> Self {
        let inner = Inner { connector, current: Mutex::default() };
        Self { inner: Arc::new(inner), permits: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    /// Sends a request and waits for its reply. Fails with [`LedgerError::Overloaded`] above `REQUESTS_MAX`.
    ///
    /// *Cancellation:* the request goes on without its caller and keeps its permit until the reply arrives.
    pub(super) async fn request(&self, request: Request) -> Result<Reply, LedgerError> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(LedgerError::Overloaded);
        };
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move {
            let reply = inner.request(request).await;
            drop(permit);
            reply
        });
        task.await.unwrap_or(Err(LedgerError::ShutDown))
    }
}

impl Inner {
    /// Repeats a request once, on a new session, after its session failed. That is safe: a look-up changes nothing, and
    /// an account that was created exists.
    async fn request(&self, request: Request) -> Result<Reply, LedgerError> {
        match self.try_request(request.clone()).await {
            Err(error) if !error.is_too_much_data() => {
                self.try_request(request).await.map_err(into_ledger_error)
            }
            result => result.map_err(into_ledger_error),
        }
    }

    /// Sends a request on the current session. A failed session is replaced, unless another request did that already.
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
