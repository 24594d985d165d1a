//! The listeners: one for all, or one for callers and one for operators; and one for gateways.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use futures_util::future::join_all;
use tokio::net::TcpListener;

use super::api::{self, Api, Audience};
use super::config::Settings;
use super::connections::{Bounds, Connections, connections_max, listen};
use super::serve_error::ServeError;
use super::tls::Configs;
use crate::ledger::Ledger;

/// The ports that the service listens on.
pub(super) struct Listeners {
    main: TcpListener,
    admin: Option<TcpListener>,
    grpc: Option<TcpListener>,
    connections_max: usize,
    resets_max: u32,
    resets_max_of_gateways: u32,
}

/// Where the service listens.
pub(super) struct Addresses {
    pub(super) main: SocketAddr,
    pub(super) admin: Option<SocketAddr>,
    pub(super) grpc: Option<SocketAddr>,
}

/// The listeners and their connections.
pub(super) struct Front(Vec<Listener>);

struct Listener {
    port: TcpListener,
    connections: Connections,
}

/// The connections of ports that are closed.
pub(super) struct OpenConnections(Vec<Connections>);

impl Listeners {
    /// Listens, and says where.
    ///
    /// # Errors
    ///
    /// The service cannot listen on an address.
    pub(super) fn open(settings: &Settings) -> Result<(Self, Addresses), ServeError> {
        let open = |address| listen(address).and_then(|port| Ok((port.local_addr()?, port)));
        let address = settings.server.listen_addr;
        let (main_address, main) = open(address).map_err(|source| ServeError::Listen { address, source })?;
        let open_admin =
            |address| open(address).map_err(|source| ServeError::AdminListen { address, source });
        let (admin_address, admin) = settings.server.admin_listen_addr.map(open_admin).transpose()?.unzip();
        let open_grpc = |address| open(address).map_err(|source| ServeError::GrpcListen { address, source });
        let (grpc_address, grpc) = settings.server.grpc_listen_addr.map(open_grpc).transpose()?.unzip();
        let addresses = Addresses { main: main_address, admin: admin_address, grpc: grpc_address };
        let listeners = Self {
            main,
            admin,
            grpc,
            connections_max: settings.connections.max,
            resets_max: settings.connections.http2_resets_max,
            resets_max_of_gateways: settings.gateway.http2_resets_max,
        };
        Ok((listeners, addresses))
    }
}

impl Front {
    /// Serves `api`, and on the listener for gateways `grpc`.
    pub(super) fn new<L: Ledger>(
        listeners: Listeners,
        api: &Arc<Api<L>>,
        grpc: Option<Router>,
        tls: Option<&Configs>,
        bounds: &Arc<Bounds>,
    ) -> Self {
        let max = connections_max(listeners.connections_max, listeners.admin.is_some(), grpc.is_some());
        let (resets, gateway_resets) = (listeners.resets_max, listeners.resets_max_of_gateways);
        let listener = |port, router, max, resets_max| Listener {
            port,
            connections: Connections::new(router, tls.cloned(), Arc::clone(bounds), max, resets_max),
        };
        let audience = if listeners.admin.is_some() { Audience::Callers } else { Audience::Everybody };
        let main = listener(listeners.main, api::router(Arc::clone(api), audience), max.main, resets);
        let operators =
            |port| listener(port, api::router(Arc::clone(api), Audience::Operators), max.admin, resets);
        let admin = listeners.admin.map(operators);
        let grpc =
            listeners.grpc.zip(grpc).map(|(port, router)| listener(port, router, max.grpc, gateway_resets));
        Self([Some(main), admin, grpc].into_iter().flatten().collect())
    }

    /// Accepts connections, forever. A drop of the future loses none.
    pub(super) async fn accept(&mut self) {
        join_all(self.0.iter_mut().map(Listener::accept)).await;
    }

    /// Closes the ports, and lets each connection end after the request that it serves.
    pub(super) fn close(self) -> OpenConnections {
        OpenConnections(self.0.into_iter().map(Listener::close).collect())
    }
}

impl Listener {
    async fn accept(&mut self) {
        self.connections.accept(&self.port).await;
    }

    fn close(mut self) -> Connections {
        self.connections.accept_last(&self.port);
        self.connections.end();
        self.connections
    }
}

impl OpenConnections {
    /// Waits until no connection is open.
    pub(super) async fn ended(&mut self) {
        join_all(self.0.iter_mut().map(Connections::ended)).await;
    }
}
