use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::reconnect::{ClusterSession, Connector, lost};
use super::session::{Reply, Request};
use crate::ledger::LedgerError;

/// How many look-ups may be under way. Those that nobody waits for any more count too: while the cluster is away they
/// cannot be recalled from the client.
const READS_MAX: usize = 1_024;

/// Look-ups, through a session of their own, so that they never wait behind a batch of transfers here. The client
/// joins those that wait into one request.
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
        Self { shared: Arc::new(shared), permits: Arc::new(Semaphore::new(READS_MAX)) }
    }

    pub(super) async fn read(&self, request: Request) -> Result<Reply, LedgerError> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(LedgerError::Overloaded);
        };
        let shared = Arc::clone(&self.shared);
        // A task of its own holds the permit until the reply is here, even if the caller gives up before.
        let read = tokio::spawn(async move {
            let reply = shared.read(request).await;
            drop(permit);
            reply
        });
        read.await.unwrap_or(Err(LedgerError::ShutDown))
    }
}

impl Shared {
    async fn read(&self, request: Request) -> Result<Reply, LedgerError> {
        let cell = Arc::clone(&*self.current.lock().await);
        let session = cell.get_or_init(|| self.connector.session()).await;
        match session.request(request).await {
            Ok(reply) => Ok(reply),
            Err(error) => {
                // An evicted session answers nothing any more: the next look-up makes a new one.
                let mut current = self.current.lock().await;
                if Arc::ptr_eq(&current, &cell) {
                    *current = Arc::default();
                }
                Err(lost(error))
            }
        }
    }
}
