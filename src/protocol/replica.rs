//! The replicas over one ledger: `GET /v1/admin/replicas`.

use serde::{Deserialize, Serialize};

/// The replicas that announce themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ReplicasAnswer {
    /// Sorted by URL.
    pub replicas: Vec<ReplicaBody>,
}

/// A replica that announces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ReplicaBody {
    /// Its `server.advertise_url`.
    pub url: String,
    /// When its process first announced itself, in the ledger's milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// When it last announced itself.
    pub renewed_unix_ms: u64,
    /// Its version.
    pub version: String,
}
