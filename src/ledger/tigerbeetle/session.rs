//! One client session: a request out, its reply and the cluster's time back.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tigerbeetle_unofficial::core::error::{SendError, SendErrorKind};
use tigerbeetle_unofficial::core::query_filter::QueryFilter;
use tigerbeetle_unofficial::core::{self as client, OperationKind, account};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ConnectError;
use super::addresses::resolve;

/// How long a request may take before its session is given up: long enough for a ledger that is busy with expiries.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a session that was idle: the cluster may have evicted it meanwhile, and the client drops a request on an
/// evicted session without a word.
const REPLY_TIMEOUT_AFTER_IDLE: Duration = Duration::from_secs(1);

/// A session with the cluster. While the cluster is away, requests wait inside the client.
pub(super) struct Session {
    last_reply: Mutex<Instant>,
    /// Taken out on drop, because ending a session blocks.
    client: Option<client::Client<&'static Completions>>,
}

/// What can be asked of the cluster.
#[derive(Clone)]
pub(super) enum Request {
    CreateTransfers(Vec<client::Transfer>),
    CreateAccounts(Vec<client::Account>),
    LookupAccounts(Vec<u128>),
    QueryTransfers(QueryFilter),
    GetAccountTransfers(account::Filter),
}

/// What the cluster said.
pub(super) struct Reply {
    pub(super) payload: Vec<u8>,
    /// The time of the last event of the request, in nanoseconds since the Unix epoch.
    pub(super) timestamp_ns: u64,
}

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("the session ended")]
    Ended,
    #[error("no reply within {} ms", .0.as_millis())]
    NoReply(Duration),
}

struct Completions;

struct Pending {
    request: Request,
    reply: oneshot::Sender<Result<Reply, SendError>>,
}

impl Session {
    pub(super) async fn connect(cluster_id: u128, addresses: &[String]) -> Result<Self, ConnectError> {
        let addresses = resolve(addresses).await?;
        let client = client::Client::with_callback(cluster_id, addresses, &Completions)?;
        Ok(Self { client: Some(client), last_reply: Mutex::new(Instant::now()) })
    }

    pub(super) async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        let client = self.client.as_ref().ok_or(RequestError::Ended)?;
        let (sender, receiver) = oneshot::channel();
        let operation = request.operation();
        client.submit(client::Packet::new(Box::new(Pending { request, reply: sender }), operation));
        let timeout = self.reply_timeout();
        let reply =
            tokio::time::timeout(timeout, receiver).await.map_err(|_| RequestError::NoReply(timeout))?;
        let reply = reply.map_err(|_| RequestError::Ended)??;
        *self.last_reply.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(reply)
    }

    fn reply_timeout(&self) -> Duration {
        let last_reply = *self.last_reply.lock().unwrap_or_else(PoisonError::into_inner);
        if last_reply.elapsed() > REPLY_TIMEOUT_AFTER_IDLE { REPLY_TIMEOUT_AFTER_IDLE } else { REPLY_TIMEOUT }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let client = self.client.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(client))),
            Err(_) => drop(client),
        }
    }
}

impl RequestError {
    /// Whether the ledger takes no request of this size. The session goes on.
    pub(super) fn is_too_much_data(&self) -> bool {
        matches!(self, Self::Send(error) if matches!(error.kind(), SendErrorKind::TooMuchData))
    }
}

impl Request {
    fn operation(&self) -> OperationKind {
        match self {
            Self::CreateTransfers(_) => OperationKind::CreateTransfers,
            Self::CreateAccounts(_) => OperationKind::CreateAccounts,
            Self::LookupAccounts(_) => OperationKind::LookupAccounts,
            Self::QueryTransfers(_) => OperationKind::QueryTransfers,
            Self::GetAccountTransfers(_) => OperationKind::GetAccountTransfers,
        }
    }
}

impl client::UserData for Pending {
    fn data(&self) -> &[u8] {
        match &self.request {
            Request::CreateTransfers(transfers) => bytemuck::cast_slice(transfers),
            Request::CreateAccounts(accounts) => bytemuck::cast_slice(accounts),
            Request::LookupAccounts(ids) => bytemuck::cast_slice(ids),
            Request::QueryTransfers(filter) => bytemuck::bytes_of(filter),
            Request::GetAccountTransfers(filter) => bytemuck::bytes_of(filter),
        }
    }
}

impl client::Callbacks for Completions {
    type UserDataPtr = Box<Pending>;

    fn completion(&self, packet: client::Packet<Self::UserDataPtr>, reply: Option<client::Reply<'_>>) {
        let result = packet.status().map(|()| {
            let (payload, timestamp) = reply.map_or((Vec::new(), None), |reply| {
                (reply.payload.to_vec(), reply.timestamp.duration_since(std::time::UNIX_EPOCH).ok())
            });
            let timestamp_ns = timestamp.map_or(0, crate::time::saturating_nanos);
            Reply { payload, timestamp_ns }
        });
        // Whoever asked may have stopped waiting.
        packet.into_user_data().reply.send(result).ok();
    }
}
