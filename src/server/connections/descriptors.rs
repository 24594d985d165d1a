//! How many connections the limit on open files allows.

/// File descriptors for all else: the log, the registry file, the ledger's sockets, the runtime.
const RESERVED: usize = 128;
/// How many of the connections belong to the admin listener, if there is one.
const ADMIN_CONNECTIONS_MAX: usize = 256;
/// How many belong to the listener for gateways, if there is one. A gateway opens one for each of its threads.
const GRPC_CONNECTIONS_MAX: usize = 1_024;
/// Assumed if the limit cannot be read.
const LIMIT_UNKNOWN: u64 = 1_024;

/// The most connections of each listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionsMax {
    pub(crate) main: usize,
    pub(crate) admin: usize,
    pub(crate) grpc: usize,
}

/// Raises the limit on open files as far as it may, and divides what it allows.
pub(crate) fn connections_max(wanted: usize, has_admin: bool, has_grpc: bool) -> ConnectionsMax {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read or raise the limit on open files");
        LIMIT_UNKNOWN
    });
    let max = divide(usize::try_from(limit).unwrap_or(usize::MAX), wanted, has_admin, has_grpc);
    if max.main < wanted {
        tracing::warn!(
            limit,
            connections_max = max.main,
            "fewer connections than connections.max: raise the limit on open files (ulimit -n)"
        );
    }
    max
}

fn divide(limit: usize, wanted: usize, has_admin: bool, has_grpc: bool) -> ConnectionsMax {
    let allowed = limit.saturating_sub(RESERVED).max(limit / 2);
    let admin = if has_admin { ADMIN_CONNECTIONS_MAX.min(allowed / 4) } else { 0 };
    let grpc = if has_grpc { GRPC_CONNECTIONS_MAX.min(allowed / 4) } else { 0 };
    ConnectionsMax { main: wanted.min(allowed - admin - grpc), admin, grpc }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_open_files_bounds_the_connections() {
        for (limit, has_admin, has_grpc, main, admin, grpc) in [
            (20_000, false, false, 8_192, 0, 0),
            (20_000, true, false, 8_192, 256, 0),
            (20_000, true, true, 8_192, 256, 1_024),
            (1_024, false, false, 896, 0, 0),
            (1_024, true, false, 672, 224, 0),
            (1_024, true, true, 448, 224, 224),
            (64, false, false, 32, 0, 0),
            (64, true, false, 24, 8, 0),
            (64, false, true, 24, 0, 8),
        ] {
            let expected = ConnectionsMax { main, admin, grpc };
            assert_eq!(divide(limit, 8_192, has_admin, has_grpc), expected, "{limit} {has_admin} {has_grpc}");
        }
    }
}
