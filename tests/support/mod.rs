//! Fixtures of all tests: replicas over any ledger, and short constructors of ids, commands and definitions.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{
    Amount, Capacity, Definition, Kind, KindFields, KindName, LeaseId, LimitKey, Overage, Period, Status,
    TimeZoneName,
};
pub use ledger_limiter::limit::{ExtendId, ReleaseId, ReplenishId};
use ledger_limiter::limiter::{Limiter, LimiterOptions};
use ledger_limiter::protocol::{Actual, Complete, Extend, Requirement, Reserve};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome, RetryAfterSource};
use ledger_limiter::registry::{Admin, LimitUsage, Registry};
use ulid::Ulid;

/// A ledger to test over, and a way to let its time pass.
pub trait Backend: Send + Sync + 'static {
    /// The ledger.
    type Ledger: Ledger;
    /// Another connection to the same ledger, as another replica has it.
    fn connect(&self) -> Arc<Self::Ledger>;
    /// The ids of the ledger number of this test.
    fn ids(&self) -> Ids;
    /// Lets time pass.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// The usage of a limit: its available and reserved amounts, and its debt in total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub available: u128,
    pub reserved: u128,
    pub debt: u128,
}

/// One `ratelimiterd`, without its HTTP.
pub struct Replica<L> {
    pub ledger: Arc<L>,
    pub ids: Ids,
    pub engine: Arc<Engine<L>>,
}

impl<L: Ledger> Replica<L> {
    /// A replica with empty caches, which has read the ledger's definitions.
    pub async fn start(ledger: Arc<L>, ids: Ids, leases_max: usize) -> Self {
        Self::start_with(ledger, ids, LimiterOptions { leases_max, ..LimiterOptions::default() }).await
    }

    /// As [`Replica::start`], with these options of the limiter.
    pub async fn start_with(ledger: Arc<L>, ids: Ids, options: LimiterOptions) -> Self {
        let replica = Self::cold_with(ledger, ids, options);
        replica.admin().bootstrap(&[]).await.expect("the ledger answers");
        replica
    }

    /// A replica that has not read anything yet.
    pub fn cold(ledger: Arc<L>, ids: Ids, leases_max: usize) -> Self {
        Self::cold_with(ledger, ids, LimiterOptions { leases_max, ..LimiterOptions::default() })
    }

    fn cold_with(ledger: Arc<L>, ids: Ids, options: LimiterOptions) -> Self {
        let options = EngineOptions::default().with_ledger_number(ids.ledger_number()).with_limiter(options);
        let engine = Arc::new(Engine::new(Arc::clone(&ledger), options));
        Self { ledger, ids, engine }
    }

    pub fn limiter(&self) -> &Limiter<L> {
        self.engine.limiter()
    }

    pub fn admin(&self) -> &Admin<L> {
        self.engine.admin()
    }

    pub fn registry(&self) -> &Registry<L> {
        self.engine.registry()
    }

    /// Reserves under a lease.
    pub async fn reserve(&self, lease: LeaseId, requirements: &[(&str, u64)]) -> ReserveOutcome {
        self.limiter().reserve(&reserve(lease, requirements)).await.expect("the ledger answers")
    }

    /// Reserves under a fresh lease.
    pub async fn take(&self, requirements: &[(&str, u64)]) -> ReserveOutcome {
        self.reserve(lease(), requirements).await
    }

    /// Settles a lease.
    pub async fn complete(&self, lease: LeaseId, actuals: &[(&str, u64)]) -> CompleteOutcome {
        self.limiter().complete(&complete(lease, actuals)).await.expect("the ledger answers")
    }

    /// Creates or changes a limit.
    pub async fn put(&self, definition: Definition) -> Status {
        self.admin().put(&definition).await.expect("the ledger answers")
    }

    /// The usage of a limit, without its definition.
    pub async fn usage(&self, key: &str) -> Usage {
        let LimitUsage { available, reserved, debt, .. } = self.info(key).await;
        Usage { available, reserved, debt }
    }

    /// A limit and its usage.
    pub async fn info(&self, key: &str) -> LimitUsage {
        self.admin().get(&LimitKey::parse_name(key).expect("a valid key")).await.expect("the limit exists")
    }
}

/// A fresh lease id.
pub fn lease() -> LeaseId {
    LeaseId::from_ulid(Ulid::generate()).expect("not zero")
}

/// A fresh id of an attempt to extend a lease.
pub fn extend_id() -> ExtendId {
    ExtendId::generate()
}

/// A fresh id of a manual refill.
pub fn replenish_id() -> ReplenishId {
    ReplenishId::generate()
}

/// A fresh id of a release.
pub fn release_id() -> ReleaseId {
    ReleaseId::generate()
}

pub fn key(text: &str) -> LimitKey {
    LimitKey::parse(text).expect("a valid key")
}

pub fn amount(units: u64) -> Amount {
    Amount::new(units).expect("a valid amount")
}

pub fn capacity(units: u64) -> Capacity {
    Capacity::new(units).expect("a valid capacity")
}

pub fn reserve(lease: LeaseId, requirements: &[(&str, u64)]) -> Reserve {
    let requirement = |(name, amount): &(&str, u64)| Requirement {
        key: key(name),
        amount: Amount::new(*amount).expect("a valid amount"),
    };
    Reserve::new(lease, String::new(), requirements.iter().map(requirement).collect())
        .expect("a valid reserve")
}

pub fn complete(lease: LeaseId, actuals: &[(&str, u64)]) -> Complete {
    let actual = |(name, amount): &(&str, u64)| Actual { key: key(name), amount: *amount };
    Complete::new(lease, String::new(), actuals.iter().map(actual).collect()).expect("a valid complete")
}

pub fn extend(lease: LeaseId, extend_id: ExtendId, name: &str, amount: u64) -> Extend {
    let requirement = Requirement { key: key(name), amount: Amount::new(amount).expect("a valid amount") };
    Extend { lease, extend_id, requirement }
}

/// Sets the maximum of instances of a template; 0 is the default.
pub fn template(definition: Definition, instances_max: u64) -> Definition {
    definition.with_instances_max(instances_max).expect("a template")
}

/// A rolling limit.
pub fn rolling(name: &str, capacity: u64, window_seconds: u64) -> Definition {
    definition(name, Kind::new(KindName::Rolling, window_seconds, 0), capacity)
}

/// A concurrency limit.
pub fn concurrency(name: &str, capacity: u64, timeout_seconds: u64) -> Definition {
    definition(name, Kind::new(KindName::Concurrency, 0, timeout_seconds), capacity)
}

/// A bucket that time refills.
pub fn token_bucket(name: &str, capacity: u64, refill_amount: u64, refill_interval_ms: u64) -> Definition {
    let fields = KindFields { refill_amount, refill_interval_ms, ..KindFields::default() };
    definition(name, Kind::from_fields(KindName::TokenBucket, &fields), capacity)
}

/// A bucket that only manual refills fill.
pub fn manual_bucket(name: &str, capacity: u64, refill_amount: u64) -> Definition {
    let auto_replenish = Some(false);
    let fields = KindFields { refill_amount, refill_interval_ms: 1, auto_replenish, ..KindFields::default() };
    definition(name, Kind::from_fields(KindName::TokenBucket, &fields), capacity)
}

/// A fixed window.
pub fn fixed_window(name: &str, capacity: u64, window_seconds: u64, align: u64) -> Definition {
    let fields = KindFields { window_seconds, align, ..KindFields::default() };
    definition(name, Kind::from_fields(KindName::FixedWindow, &fields), capacity)
}

/// A window of milliseconds: a sliding one of so many segments, or a fixed one if there are none.
pub fn window_of_ms(name: &str, capacity: u64, window_ms: u64, segments: u64) -> Definition {
    window(name, capacity, KindFields { window_ms, segments, ..KindFields::default() })
}

/// The same, refilled by hand.
pub fn window_by_hand(name: &str, capacity: u64, window_ms: u64, segments: u64) -> Definition {
    let auto_replenish = Some(false);
    window(name, capacity, KindFields { window_ms, segments, auto_replenish, ..KindFields::default() })
}

fn window(name: &str, capacity: u64, fields: KindFields) -> Definition {
    let kind = if fields.segments > 0 { KindName::SlidingWindow } else { KindName::FixedWindow };
    definition(name, Kind::from_fields(kind, &fields), capacity)
}

/// A calendar window.
pub fn calendar(name: &str, capacity: u64, period: Period, zone: &str, starts_at: u64) -> Definition {
    let time_zone = Some(TimeZoneName::parse(zone).expect("a time zone"));
    let fields = KindFields { period: Some(period), time_zone, starts_at, ..KindFields::default() };
    definition(name, Kind::from_fields(KindName::Calendar, &fields), capacity)
}

/// A sliding window.
pub fn sliding_window(name: &str, capacity: u64, window_seconds: u64, segments: u64) -> Definition {
    let fields = KindFields { window_seconds, segments, ..KindFields::default() };
    definition(name, Kind::from_fields(KindName::SlidingWindow, &fields), capacity)
}

/// A limit of each kind with this capacity, of which nothing becomes available again within an hour.
pub fn of_each_kind(capacity: u64) -> [Definition; 6] {
    [
        rolling("rolling", capacity, 3_600),
        concurrency("slots", capacity, 3_600),
        token_bucket("bucket", capacity, 1, 3_600_000),
        manual_bucket("manual", capacity, 1),
        fixed_window("window", capacity, 3_600, 0),
        sliding_window("sliding", capacity, 3_600, 3),
    ]
}

fn definition(
    name: &str,
    kind: Result<Kind, ledger_limiter::limit::DefinitionError>,
    capacity: u64,
) -> Definition {
    let capacity = Capacity::new(capacity).expect("a valid capacity");
    let key = LimitKey::parse_name(name).expect("a valid key");
    Definition::new(key, kind.expect("valid times"), capacity, "", "", Overage::Debt)
        .expect("a valid definition")
}

/// Whether a reservation was granted.
pub fn is_granted(reservation: &ReserveOutcome) -> bool {
    matches!(reservation, ReserveOutcome::Granted { .. })
}

/// The denial of a limit that changed meanwhile: a repetition at once may be granted.
pub fn denied_for_now(key: LimitKey) -> ReserveOutcome {
    let retry_after_source = RetryAfterSource::Estimate;
    ReserveOutcome::NoRoom { key, retry_after_ms: 1, retry_after_source }
}

/// The key without room, of a denial for that reason.
pub fn no_room(reservation: &ReserveOutcome) -> Option<&str> {
    match reservation {
        ReserveOutcome::NoRoom { key, retry_after_ms, .. } => {
            assert!(*retry_after_ms > 0, "a denial without room has a hint");
            Some(key.as_str())
        }
        ReserveOutcome::Granted { .. }
        | ReserveOutcome::Decreasing { .. }
        | ReserveOutcome::ExceedsCapacity { .. }
        | ReserveOutcome::UnknownKey { .. }
        | ReserveOutcome::TooManyInstances { .. }
        | ReserveOutcome::LeaseConflict
        | ReserveOutcome::LeaseSettled
        | ReserveOutcome::LeaseExpired => None,
    }
}

/// Waits until a condition holds. Fails after `limit`, because a broken limiter would never satisfy it.
pub async fn eventually<F: Future<Output = bool>>(what: &str, limit: Duration, mut holds: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + limit;
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
