//! A ledger that answers as scripted, and callers that use it through a submitter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use self::Reply::{Created, Other, Overloaded, ShutDown, TooLong, Unreachable};
use super::super::{Connect, SendError, Submitter, SubmitterOptions, TransferSession};
use crate::ledger::{
    Chain, ChainOutcome, LedgerError, Movement, Transfer, TransferCode, TransferId, UserData,
};

pub(super) const ONE_SESSION: SubmitterOptions = SubmitterOptions {
    sessions: 1,
    batch_transfers_max: 10,
    queue_transfers_max: 1_000,
    flush_interval: Duration::ZERO,
};
pub(super) const REQUEST_MS: u64 = 10;

/// The reply to a chain. The scripted ledger reports the number of a chain as its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Created(u64),
    Overloaded,
    TooLong { transfers: usize, transfers_max: usize },
    Unreachable,
    ShutDown,
    Other,
}

impl From<Result<ChainOutcome, LedgerError>> for Reply {
    fn from(outcome: Result<ChainOutcome, LedgerError>) -> Self {
        match outcome {
            Ok(ChainOutcome::Created { timestamp_ns }) => Created(timestamp_ns),
            Err(LedgerError::Overloaded) => Overloaded,
            Err(LedgerError::ChainTooLong { transfers, transfers_max }) => {
                TooLong { transfers, transfers_max }
            }
            Err(LedgerError::Unreachable(_)) => Unreachable,
            Err(LedgerError::ShutDown) => ShutDown,
            Ok(ChainOutcome::Refused { .. })
            | Err(LedgerError::Unexpected(_) | LedgerError::RequestTooLarge) => Other,
        }
    }
}

/// How the scripted ledger responds to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Response {
    Created,
    TooMuchData,
    Lost,
}

/// A request that the scripted ledger received.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) session: usize,
    /// The time since the start of the test.
    pub(super) at_ms: u128,
    /// The number of each chain.
    pub(super) numbers: Vec<u64>,
    /// The transfers of each chain.
    pub(super) lengths: Vec<usize>,
    pub(super) response: Response,
}

/// How the scripted ledger behaves. Requests are counted from 0.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// The most transfers in a request.
    pub(super) transfers_max: usize,
    /// The durations of the first requests. The others take `REQUEST_MS`.
    pub(super) takes_ms: Vec<u64>,
    /// The requests that are lost with their session.
    pub(super) lost: Vec<usize>,
    /// The time that a session takes to connect.
    pub(super) connect_ms: u64,
    /// The request at which the session's worker panics.
    pub(super) panics_at: Option<usize>,
}

impl Default for Script {
    fn default() -> Self {
        Self { transfers_max: 8_189, takes_ms: Vec::new(), lost: Vec::new(), connect_ms: 0, panics_at: None }
    }
}

impl Script {
    pub(super) fn start(self, options: SubmitterOptions) -> World {
        let (sent, sessions, started) = (Arc::default(), Arc::default(), Instant::now());
        let ledger = Ledger { script: self, sent, sessions, started };
        World { submitter: Arc::new(Submitter::start(ledger.clone(), options)), ledger }
    }
}

#[derive(Clone)]
struct Ledger {
    script: Script,
    sent: Arc<Mutex<Vec<Sent>>>,
    sessions: Arc<AtomicUsize>,
    started: Instant,
}

/// A session and its number, counted from 0.
struct Session(usize, Ledger);

impl Connect for Ledger {
    type Session = Session;

    async fn connect(&self) -> Session {
        sleep(Duration::from_millis(self.script.connect_ms)).await;
        Session(self.sessions.fetch_add(1, Ordering::Relaxed), self.clone())
    }
}

impl TransferSession for Session {
    async fn create_transfers(&mut self, chains: &[Chain]) -> Result<Vec<ChainOutcome>, SendError> {
        let Self(session, Ledger { script, sent, started, .. }) = self;
        let lengths: Vec<usize> = chains.iter().map(|chain| chain.transfers().len()).collect();
        let numbers: Vec<u64> = chains.iter().map(number).collect();
        let at_ms = started.elapsed().as_millis();
        let (index, response) = {
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            let response = match sent.len() {
                _ if lengths.iter().sum::<usize>() > script.transfers_max => Response::TooMuchData,
                index if script.lost.contains(&index) => Response::Lost,
                _ => Response::Created,
            };
            sent.push(Sent { session: *session, at_ms, numbers: numbers.clone(), lengths, response });
            (sent.len() - 1, response)
        };
        assert_ne!(script.panics_at, Some(index), "as scripted");
        if response == Response::TooMuchData {
            return Err(SendError::TooMuchData);
        }
        sleep(Duration::from_millis(script.takes_ms.get(index).copied().unwrap_or(REQUEST_MS))).await;
        if response == Response::Lost {
            let error = std::io::Error::other("evicted");
            return Err(SendError::Lost(LedgerError::Unreachable(Arc::new(error))));
        }
        Ok(numbers.into_iter().map(|timestamp_ns| ChainOutcome::Created { timestamp_ns }).collect())
    }
}

/// A submitter over the scripted ledger.
pub(super) struct World {
    pub(super) submitter: Arc<Submitter>,
    ledger: Ledger,
}

/// A caller that waits for its replies.
pub(super) struct Caller(JoinHandle<Vec<Reply>>);

impl World {
    /// Submits chains of these lengths, numbered from `first` on.
    pub(super) fn submit(&self, first: u64, lengths: &[usize]) -> Caller {
        let submitter = Arc::clone(&self.submitter);
        let chains = (first..).zip(lengths).map(|(number, &length)| chain(number, length)).collect();
        Caller(tokio::spawn(
            async move { submitter.submit(chains).await.into_iter().map(Reply::from).collect() },
        ))
    }

    /// Keeps the only session busy for `REQUEST_MS`, of which 1 ms has passed on return.
    pub(super) async fn keep_session_busy(&self) -> Caller {
        let caller = self.submit(1_000, &[1]);
        pass(1).await;
        caller
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.ledger.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The transfers of each chain of each request.
    pub(super) fn lengths(&self) -> Vec<Vec<usize>> {
        self.sent().into_iter().map(|sent| sent.lengths).collect()
    }

    /// The transfers of each request.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.lengths().iter().map(|lengths| lengths.iter().sum()).collect()
    }

    /// The times at which the ledger received the requests.
    pub(super) fn times_ms(&self) -> Vec<u128> {
        self.sent().into_iter().map(|sent| sent.at_ms).collect()
    }

    pub(super) fn now_ms(&self) -> u128 {
        self.ledger.started.elapsed().as_millis()
    }

    pub(super) async fn shutdown(&self) {
        timeout(Duration::from_secs(60), self.submitter.shutdown()).await.expect("an end");
    }

    /// Whether the queue is empty and all its room is free.
    pub(super) fn is_idle(&self) -> bool {
        self.submitter.stats().queued_transfers() == 0
            && self.submitter.room.available_permits() == self.submitter.options.queue_transfers_max
    }
}

impl Caller {
    pub(super) async fn answer(self) -> Vec<Reply> {
        timeout(Duration::from_secs(60), self.0).await.expect("an answer").expect("no panic")
    }

    pub(super) fn is_answered(&self) -> bool {
        self.0.is_finished()
    }

    pub(super) async fn cancel(self) {
        self.0.abort();
        self.0.await.unwrap_err();
    }
}

/// Lets time pass.
pub(super) async fn pass(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

/// A chain of this length that carries its number.
pub(super) fn chain(number: u64, length: usize) -> Chain {
    let id = TransferId::from_u128(number.into());
    let movement = Movement::Void { pending: id };
    let user_data = UserData { long: number, ..UserData::default() };
    let transfer = Transfer { id, code: TransferCode::Complete, user_data, movement };
    Chain::new(vec![transfer; length]).expect("a length over 0")
}

fn number(chain: &Chain) -> u64 {
    chain.transfers()[0].user_data.long
}
