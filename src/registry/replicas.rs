//! The replicas that announce themselves in the ledger, as this process knows them, and its own announcement.
//!
//! Nothing beside the ledger is needed. [`crate::decide::announcement`] has the transfers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::decide::announcement::{self, Announcement};
use crate::decide::ids::Ids;
use crate::ledger::{ChainOutcome, Ledger, LedgerError, Refusal};
use crate::limit::{LeaseId, ReplicaUrl};
use crate::telemetry::with_sources;

/// The time between two announcements. Two of three may be lost.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(5);
/// The least time between two readings that callers cause, who name a replica that is not known.
const REFRESH_PAUSE: Duration = Duration::from_millis(500);

/// A replica that lives, as far as the ledger tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaInfo {
    /// Where it answers the other replicas.
    pub url: ReplicaUrl,
    /// When its process first announced itself, in the ledger's nanoseconds.
    pub since_ns: u64,
    /// When it last did.
    pub renewed_ns: u64,
    /// Until when it counts as living.
    pub expires_ns: u64,
    /// Its version, `0.1.0`.
    pub version: String,
}

/// The replicas over one ledger.
pub struct Replicas<L> {
    ledger: Arc<L>,
    ids: Ids,
    own: Option<Own>,
    /// The replicas that were living at the last reading, sorted by URL.
    known: RwLock<Arc<[ReplicaInfo]>>,
    /// The URL of each process that was living then, and since when.
    urls: tokio::sync::Mutex<HashMap<LeaseId, (ReplicaUrl, u64)>>,
    /// When a caller may cause a reading again.
    refresh_at: Mutex<Instant>,
}

/// The announcement of this process.
struct Own {
    url: ReplicaUrl,
    process: LeaseId,
    state: tokio::sync::Mutex<OwnState>,
}

#[derive(Default)]
struct OwnState {
    url_is_stored: bool,
    /// The newest announcement that may be in the ledger.
    announced: Option<LeaseId>,
}

impl<L: Ledger> Replicas<L> {
    /// A process that announces `url`, or nothing. Nothing is sent or read yet.
    pub(crate) fn new(ledger: Arc<L>, ids: Ids, url: Option<ReplicaUrl>) -> Self {
        let own = |url| Own { url, process: LeaseId::generate(), state: tokio::sync::Mutex::default() };
        Self {
            ledger,
            ids,
            own: url.map(own),
            known: RwLock::new(Arc::from([])),
            urls: tokio::sync::Mutex::default(),
            refresh_at: Mutex::new(Instant::now()),
        }
    }

    /// The URL that this process announces, if it announces one.
    pub fn own_url(&self) -> Option<&ReplicaUrl> {
        self.own.as_ref().map(|own| &own.url)
    }

    /// The replicas that live, as of the last reading, sorted by URL.
    pub fn living(&self) -> Vec<ReplicaInfo> {
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        let now_ns = self.ledger.now_ns();
        known.iter().filter(|replica| replica.expires_ns > now_ns).cloned().collect()
    }

    /// The URLs of the living replicas but this one.
    pub fn peers(&self) -> Vec<ReplicaUrl> {
        let others = self.living().into_iter().map(|replica| replica.url);
        others.filter(|url| Some(url) != self.own_url()).collect()
    }

    /// The peer that announces exactly this URL, as of the last reading.
    pub fn known_peer(&self, url: &str) -> Option<ReplicaUrl> {
        self.peers().into_iter().find(|peer| peer.as_str() == url)
    }

    /// The peer that announces exactly this URL. If none is known, the ledger is read, at most twice a second.
    ///
    /// # Errors
    ///
    /// The ledger does not answer.
    pub async fn find_peer(&self, url: &str) -> Result<Option<ReplicaUrl>, LedgerError> {
        if self.known_peer(url).is_none() && self.may_refresh() {
            self.refresh().await?;
        }
        Ok(self.known_peer(url))
    }

    /// Whether a peer that gave no answer still counts as living: one that stopped in order does not. Reads the ledger, at most
    /// twice a second.
    ///
    /// # Errors
    ///
    /// The ledger does not answer.
    pub async fn still_lives(&self, peer: &ReplicaUrl) -> Result<bool, LedgerError> {
        if self.may_refresh() {
            self.refresh().await?;
        }
        Ok(self.known_peer(peer.as_str()).is_some())
    }

    fn may_refresh(&self) -> bool {
        let mut refresh_at = self.refresh_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let may = now >= *refresh_at;
        if may {
            *refresh_at = now + REFRESH_PAUSE;
        }
        may
    }

    /// Announces this process once, if it has a URL.
    ///
    /// # Errors
    ///
    /// The ledger does not answer, or refuses the announcement.
    pub async fn announce(&self) -> Result<(), LedgerError> {
        let Some(own) = &self.own else { return Ok(()) };
        let mut state = own.state.lock().await;
        if !state.url_is_stored
            && let Some(chain) = announcement::store_url(self.ids, own.process, &own.url)
        {
            accept(self.ledger.submit_one(chain).await?)?;
            state.url_is_stored = true;
        }
        let (name, version) = (LeaseId::generate(), announcement::pack_version(env!("CARGO_PKG_VERSION")));
        // Noted before it is sent: if its outcome stays unknown, it is withdrawn all the same.
        state.announced = Some(name);
        match announcement::announce(self.ids, own.process, name, version) {
            Some(chain) => accept(self.ledger.submit_one(chain).await?),
            None => Ok(()),
        }
    }

    /// Withdraws the announcement of this process, which stops. Otherwise it expires by itself.
    ///
    /// # Errors
    ///
    /// The ledger does not answer.
    pub async fn withdraw(&self) -> Result<(), LedgerError> {
        let Some(own) = &self.own else { return Ok(()) };
        let announced = own.state.lock().await.announced.take();
        if let Some(chain) = announced.and_then(|name| announcement::withdraw(self.ids, name)) {
            // It may have expired, or never have been made.
            self.ledger.submit_one(chain).await?;
        }
        Ok(())
    }

    /// Reads which replicas live.
    ///
    /// # Errors
    ///
    /// The ledger does not answer.
    pub async fn refresh(&self) -> Result<(), LedgerError> {
        let mut urls = self.urls.lock().await;
        let transfers =
            self.ledger.account_transfers(announcement::query(self.ids, self.ledger.now_ns())).await?;
        let mut newest = announcement::newest(&transfers);
        // A process that has only just begun may not know the ledger's time; it is not earlier than the newest transfer.
        let newest_ns = transfers.first().map_or(0, |recorded| recorded.timestamp_ns);
        let at_ns = self.ledger.now_ns().max(newest_ns);
        newest.retain(|announced| announced.expires_at_ns > at_ns);
        urls.retain(|process, _| newest.iter().any(|announced| announced.process == *process));
        let mut living: Vec<ReplicaInfo> = Vec::with_capacity(newest.len());
        for announced in newest {
            let (url, since_ns) = match urls.entry(announced.process) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let query = self.ids.lease_query(announced.process);
                    let Some(url) = announcement::read_url(&self.ledger.lease_transfers(query).await?) else {
                        continue;
                    };
                    unknown.insert(url)
                }
            };
            living.push(info(&announced, url, *since_ns));
        }
        // Of a process that was started again, its predecessor may not have expired.
        living.sort_by(|a, b| a.url.cmp(&b.url).then(b.since_ns.cmp(&a.since_ns)));
        living.dedup_by(|later, first| later.url == first.url);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = living.into();
        Ok(())
    }

    /// Announces this process, and reads which others live, again and again, forever.
    pub(crate) async fn run(&self) {
        loop {
            let done = async {
                self.announce().await?;
                self.refresh().await
            };
            if let Err(error) = done.await {
                tracing::debug!(
                    error = with_sources(&error),
                    "announcements of replicas could not be exchanged; trying again"
                );
            }
            tokio::time::sleep(ANNOUNCE_INTERVAL).await;
        }
    }
}

fn info(announced: &Announcement, url: &ReplicaUrl, since_ns: u64) -> ReplicaInfo {
    ReplicaInfo {
        url: url.clone(),
        since_ns,
        renewed_ns: announced.announced_at_ns,
        expires_ns: announced.expires_at_ns,
        version: announcement::version_text(announced.version),
    }
}

/// Whether the chain is in the ledger, perhaps since an earlier time.
fn accept(outcome: ChainOutcome) -> Result<(), LedgerError> {
    match outcome {
        ChainOutcome::Created { .. } | ChainOutcome::Refused { index: 0, refusal: Refusal::Exists } => Ok(()),
        ChainOutcome::Refused { refusal, .. } => {
            Err(LedgerError::Unexpected(format!("an announcement was refused: {refusal:?}")))
        }
    }
}
