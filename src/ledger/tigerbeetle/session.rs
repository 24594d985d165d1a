//! One session of the TigerBeetle client: sends a request, waits for its reply and for the cluster's time in it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tigerbeetle_unofficial::core::error::{SendError, SendErrorKind};
use tigerbeetle_unofficial::core::query_filter::QueryFilter;
use tigerbeetle_unofficial::core::{self as client, OperationKind, account};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ConnectError;
use super::addresses::resolve;

/// How long a request may take before its session counts as lost: long enough for a ledger that is busy with expiries.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// The same on a session that was idle. The cluster may have evicted it, and then the TigerBeetle client drops the
/// request without an error.
const REPLY_TIMEOUT_AFTER_IDLE: Duration = Duration::from_secs(1);

/// A session with the cluster. While the cluster is away, requests wait inside the TigerBeetle client.
pub(super) struct Session {
    last_reply_at: Mutex<Instant>,
    /// `None` only while the session is dropped.
    client: Option<client::Client<&'static Completions>>,
}

/// A request to the cluster.
#[derive(Clone)]
pub(super) enum Request {
    CreateTransfers(Vec<client::Transfer>),
    CreateAccounts(Vec<client::Account>),
    LookupAccounts(Vec<u128>),
    QueryTransfers(QueryFilter),
    GetAccountTransfers(account::Filter),
}

/// The cluster's reply to a request.
pub(super) struct Reply {
    /// The results, encoded as the operation of the request defines.
    pub(super) payload: Vec<u8>,
    /// When the cluster made the last event of the request, in nanoseconds since the Unix epoch.
    pub(super) timestamp_ns: u64,
}

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("the session with TigerBeetle ended")]
    Ended,
    #[error("no reply from TigerBeetle within {} ms", .0.as_millis())]
    NoReply(Duration),
}

/// Passes each reply of the TigerBeetle client to the caller that waits for it.
struct Completions;

/// A request inside the TigerBeetle client, and the caller that waits for its reply.
struct Pending {
    request: Request,
    reply: oneshot::Sender<Result<Reply, SendError>>,
}

impl Session {
    /// Opens a session. Does not wait for the cluster.
    pub(super) async fn connect(cluster_id: u128, addresses: &[String]) -> Result<Self, ConnectError> {
        let addresses = resolve(addresses).await?;
        let client = client::Client::with_callback(cluster_id, addresses, &Completions)?;
        Ok(Self { client: Some(client), last_reply_at: Mutex::new(Instant::now()) })
    }

    /// Sends a request and waits for its reply. Fails with [`RequestError::NoReply`] after a time-out; the outcome is
    /// then unknown.
    pub(super) async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        let client = self.client.as_ref().ok_or(RequestError::Ended)?;
        let (sender, receiver) = oneshot::channel();
        let operation = request.operation();
        client.submit(client::Packet::new(Box::new(Pending { request, reply: sender }), operation));
        let timeout = self.reply_timeout();
        let reply =
            tokio::time::timeout(timeout, receiver).await.map_err(|_| RequestError::NoReply(timeout))?;
        let reply = reply.map_err(|_| RequestError::Ended)??;
        *self.last_reply_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(reply)
    }

    fn reply_timeout(&self) -> Duration {
        let last_reply_at = *self.last_reply_at.lock().unwrap_or_else(PoisonError::into_inner);
        if last_reply_at.elapsed() > REPLY_TIMEOUT_AFTER_IDLE {
            REPLY_TIMEOUT_AFTER_IDLE
        } else {
            REPLY_TIMEOUT
        }
    }
}

impl Drop for Session {
    /// Ends the session on a blocking thread, because the TigerBeetle client waits for its own thread.
    fn drop(&mut self) {
        let client = self.client.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(client))),
            Err(_) => drop(client),
        }
    }
}

impl RequestError {
    /// Whether the request is larger than the ledger takes. The session is still usable.
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
        // The caller may have stopped waiting.
        packet.into_user_data().reply.send(result).ok();
    }
}
