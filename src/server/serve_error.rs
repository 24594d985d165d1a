//! Why the service did not start, or ended early.

use std::net::SocketAddr;

use super::auth::CredentialsError;
use super::tls::TlsError;
use super::{AlertsError, AuditError};
use crate::registry::file::{FileError, LockError};

/// Why the service did not start, or ended without a stop signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The registry file is damaged or cannot be read.
    #[error("cannot use the registry file (registry.path)")]
    Registry(#[from] FileError),
    /// Another service uses the registry file, or it cannot be opened.
    #[error("cannot use the registry file (registry.path)")]
    RegistryLock(#[from] LockError),
    /// The service cannot listen on its address.
    #[error("cannot listen on {address} (server.listen_addr)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The background loops ended, which never happens without a fault.
    #[error("the background loops ended; restart ratelimiterd, because it no longer follows the definitions")]
    BackgroundEnded,
    /// The service cannot listen on its address for operators.
    #[error("cannot listen on {address} (server.admin_listen_addr)")]
    AdminListen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The service cannot listen on its address for gateways.
    #[error("cannot listen on {address} (server.grpc_listen_addr)")]
    GrpcListen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The rules for the descriptors of gateways cannot be used.
    #[cfg(feature = "grpc")]
    #[error("cannot use the gateway rules")]
    Rules(#[from] super::grpc::RulesError),
    /// The gRPC interface cannot be shown.
    #[cfg(feature = "grpc")]
    #[error("the gRPC interface cannot be read; this build is broken")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The metrics cannot be sent to the collector.
    #[cfg(feature = "otlp")]
    #[error("cannot use the settings of otlp.*")]
    Otlp(#[from] super::otlp::OtlpError),
    /// The certificate, the key or the authorities cannot be used.
    #[error("cannot use the files of tls.*")]
    Tls(#[from] TlsError),
    /// The files of the webhook for alerts cannot be used.
    #[error("cannot use the settings of alerts.*")]
    Alerts(#[from] AlertsError),
    /// The tokens or keys cannot be read.
    #[error("cannot authenticate callers")]
    Credentials(#[from] CredentialsError),
    /// A name is none.
    #[error("setting server.allowed_hosts: {0:?} is not a name, NAME:PORT or *")]
    AllowedHost(String),
    /// The audit file cannot be opened.
    #[error("setting log.audit_path")]
    Audit(#[from] AuditError),
    /// This build has no TigerBeetle ledger.
    #[error(
        "setting server.backend: this ratelimiterd was built without TigerBeetle; set \"memory\" or use another build"
    )]
    NoTigerBeetle,
}
