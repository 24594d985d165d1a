//! `gateway.*`: the gRPC calls of gateways.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `gateway.*`: the gRPC calls of gateways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySettings {
    /// The file of rules, which map descriptors to limits; empty for none.
    pub rules: PathBuf,
    /// The most calls that one connection may cancel within a second.
    pub http2_resets_max: u32,
}

impl Default for GatewaySettings {
    /// A gateway cancels each call that it gives up: all of them while the ledger pauses for longer than its time-out.
    fn default() -> Self {
        Self { rules: PathBuf::new(), http2_resets_max: 10_000 }
    }
}
