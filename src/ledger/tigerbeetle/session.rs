//! One client session: a request out, its reply and the cluster's time back.

use tigerbeetle_unofficial::core::error::SendError;
use tigerbeetle_unofficial::core::query_filter::QueryFilter;
use tigerbeetle_unofficial::core::{self as client, OperationKind, account};
use tokio::sync::oneshot;

use super::ConnectError;
use super::addresses::resolve;

/// A session with the cluster. It lives on while the cluster is away: requests wait inside the client then.
pub(super) struct Session {
    /// Taken out on drop, because ending a session blocks.
    client: Option<client::Client<&'static Completions>>,
}

/// What can be asked of the cluster.
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
        Ok(Self { client: Some(client) })
    }

    pub(super) async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        let client = self.client.as_ref().ok_or(RequestError::Ended)?;
        let (sender, receiver) = oneshot::channel();
        let operation = request.operation();
        client.submit(client::Packet::new(Box::new(Pending { request, reply: sender }), operation));
        Ok(receiver.await.map_err(|_| RequestError::Ended)??)
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
            let timestamp_ns = timestamp.map_or(0, crate::clock::saturating_nanos);
            Reply { payload, timestamp_ns }
        });
        // Whoever asked may have stopped waiting.
        packet.into_user_data().reply.send(result).ok();
    }
}
