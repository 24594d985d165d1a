//! The listeners: one for all, or one for callers and one for operators.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::{OptionFuture, join};
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
    connections_max: usize,
}

/// The listeners and their connections.
pub(super) struct Front {
    main: Listener,
    admin: Option<Listener>,
}

struct Listener {
    port: TcpListener,
    connections: Connections,
}

/// The connections of ports that are closed.
pub(super) struct OpenConnections {
    main: Connections,
    admin: Option<Connections>,
}

impl Listeners {
    /// Listens, and says where.
    ///
    /// # Errors
    ///
    /// The service cannot listen on an address.
    pub(super) fn open(settings: &Settings) -> Result<(Self, SocketAddr, Option<SocketAddr>), ServeError> {
        let open = |address| listen(address).and_then(|port| Ok((port.local_addr()?, port)));
        let address = settings.server.listen_addr;
        let (main_address, main) = open(address).map_err(|source| ServeError::Listen { address, source })?;
        let open_admin =
            |address| open(address).map_err(|source| ServeError::AdminListen { address, source });
        let (admin_address, admin) = settings.server.admin_listen_addr.map(open_admin).transpose()?.unzip();
        let listeners = Self { main, admin, connections_max: settings.connections.max };
        Ok((listeners, main_address, admin_address))
    }
}

impl Front {
    pub(super) fn new<L: Ledger>(
        listeners: Listeners,
        api: &Arc<Api<L>>,
        tls: Option<&Configs>,
        bounds: &Arc<Bounds>,
    ) -> Self {
        let max = connections_max(listeners.connections_max, listeners.admin.is_some());
        let listener = |port, audience, max| {
            let router = api::router(Arc::clone(api), audience);
            Listener { port, connections: Connections::new(router, tls.cloned(), Arc::clone(bounds), max) }
        };
        match listeners.admin {
            None => Self { main: listener(listeners.main, Audience::Everybody, max.main), admin: None },
            Some(admin) => Self {
                main: listener(listeners.main, Audience::Callers, max.main),
                admin: Some(listener(admin, Audience::Operators, max.admin)),
            },
        }
    }

    /// Accepts connections, forever. A drop of the future loses none.
    pub(super) async fn accept(&mut self) {
        join(self.main.accept(), OptionFuture::from(self.admin.as_mut().map(Listener::accept))).await;
    }

    /// Closes the ports, and lets each connection end after the request that it serves.
    pub(super) fn close(self) -> OpenConnections {
        OpenConnections { main: self.main.close(), admin: self.admin.map(Listener::close) }
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
        join(self.main.ended(), OptionFuture::from(self.admin.as_mut().map(Connections::ended))).await;
    }
}
