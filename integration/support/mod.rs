//! Access to a real TigerBeetle: `server` runs it, `service` runs `ratelimiterd` in front of it, `network` is between them.

pub mod network;
pub mod server;
pub mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::raw::RawLedger;
use ledger_limiter::ledger::tigerbeetle::submitter::SubmitterOptions;
use ledger_limiter::ledger::tigerbeetle::{TigerBeetleLedger, TigerBeetleOptions};

use crate::audited::Audited;
use crate::fixtures::Backend;

/// The longest time from a timeout until TigerBeetle has freed the expired amount.
const EXPIRY_SLACK: Duration = Duration::from_millis(300);

/// A ledger number of its own on the shared server, so that tests do not see each other's data.
pub struct TigerBeetleBackend {
    address: String,
    ledger: u32,
}

impl TigerBeetleBackend {
    pub async fn new() -> Self {
        static NEXT_LEDGER: AtomicU32 = AtomicU32::new(1);
        let ledger = NEXT_LEDGER.fetch_add(1, Ordering::Relaxed);
        Self { address: server::shared().await.to_owned(), ledger }
    }
}

/// The service's default options for a cluster of one replica, with one session.
pub fn options(address: &str, ledger: u32) -> TigerBeetleOptions {
    TigerBeetleOptions {
        cluster_id: 0,
        addresses: vec![address.to_owned()],
        ledger,
        submitter: SubmitterOptions {
            sessions: 1,
            batch_transfers_max: 8_189,
            queue_transfers_max: 65_536,
            flush_interval: Duration::ZERO,
        },
    }
}

impl Audited for TigerBeetleBackend {
    fn raw(&self) -> (Arc<impl RawLedger + 'static>, u32) {
        (self.connect(), self.ledger)
    }
}

impl Backend for TigerBeetleBackend {
    type Ledger = TigerBeetleLedger;

    fn connect(&self) -> Arc<TigerBeetleLedger> {
        Arc::new(TigerBeetleLedger::connect(options(&self.address, self.ledger)))
    }

    fn ids(&self) -> Ids {
        Ids::new(self.ledger)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time + EXPIRY_SLACK).await;
    }
}
