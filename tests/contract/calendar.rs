//! Calendar windows: the ledger holds the end of the present window, whatever rules a replica knows.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::decide::definition_version::{self, ChainInputs};
use ledger_limiter::ledger::{Chain, Ledger, TransferCode};
use ledger_limiter::limit::{Definition, Period, Status};
use ledger_limiter::protocol::CompleteOutcome;
use ulid::Ulid;

use crate::fixtures::*;

const MS: u64 = 1_000_000;

/// The time until more becomes available, as a caller is told.
async fn left_ms<L: Ledger>(replica: &Replica<L>, name: &str) -> u64 {
    let left = replica.limiter().left(&[&key(name)]).await.expect("the ledger answers");
    left[0].and_then(|left| left.more_after_ms).expect("a limit with a schedule")
}

/// Puts the first version of a limit as a program does whose rules end the present window at another moment.
async fn put_with_rules_that_end_at<L: Ledger>(replica: &Replica<L>, definition: &Definition, ends_ms: u64) {
    let (ledger, ids) = (&replica.ledger, replica.ids);
    let plan = definition_version::put(None, definition).expect("no change of kind").expect("a version");
    ledger.create_accounts(plan.accounts(ids)).await.expect("the ledger answers");
    let inputs = ChainInputs::of_first_version(Ulid::generate().0, ledger.now_ns());
    let chain = plan.chain(ids, inputs).expect("it is encoded").expect("a chain");
    let outcome = ledger.submit_one(with_first_end(&chain, ends_ms)).await.expect("the ledger answers");
    assert!(matches!(outcome, ledger_limiter::ledger::ChainOutcome::Created { .. }), "{outcome:?}");
    replica.registry().refresh().await.expect("the ledger answers");
}

/// The same version with another end of the first window, which is the last field of its encoding: a number of six bytes.
fn with_first_end(chain: &Chain, ends_ms: u64) -> Chain {
    let is_part = |code| code == TransferCode::Definition;
    let parts = chain.transfers().iter().filter(|transfer| is_part(transfer.code));
    let mut bytes: Vec<u8> = parts
        .flat_map(|part| {
            [&part.user_data.wide.to_le_bytes()[..], &part.user_data.long.to_le_bytes()].concat()
        })
        .collect();
    let end = 3 + usize::from(u16::from_le_bytes([bytes[1], bytes[2]]));
    for nth in 0..6 {
        let more = if nth < 5 { 0x80 } else { 0 };
        bytes[end - 6 + nth] = (ends_ms >> (7 * nth)) as u8 & 0x7f | more;
    }
    let mut chunks = bytes.chunks(24);
    let transfers = chain.transfers().iter().map(|&transfer| {
        if !is_part(transfer.code) {
            return transfer;
        }
        let (wide, long) = chunks.next().expect("as many as before").split_at(16);
        let mut changed = transfer;
        changed.user_data.wide = u128::from_le_bytes(wide.try_into().expect("16 bytes"));
        changed.user_data.long = u64::from_le_bytes(long.try_into().expect("8 bytes"));
        changed
    });
    Chain::new(transfers).expect("not empty")
}

pub async fn a_calendar_window_grants_its_capacity<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 100).await;
    for (name, period, days) in
        [("day", Period::Day, 1), ("month", Period::Month, 31), ("year", Period::Year, 366)]
    {
        replica.put(calendar(name, 10, period, "Europe/Berlin", 0)).await;
        let (in_time, all) = (lease(), [(name, 4)]);
        assert!(is_granted(&replica.reserve(in_time, &[(name, 6)]).await), "{name}");
        assert!(is_granted(&replica.take(&all).await), "{name}");
        assert_eq!(no_room(&replica.take(&[(name, 1)]).await), Some(name));
        let left_ms = left_ms(&replica, name).await;
        assert!(left_ms <= days * 86_400_000 + 3_600_000, "{name} {left_ms}");
        replica.complete(in_time, &[(name, 1)]).await;
        assert_eq!(replica.usage(name).await, Usage { available: 5, reserved: 5, debt: 0 }, "{name}");
    }
}

pub async fn the_ledger_says_when_a_calendar_window_ends<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    let definition = calendar("day", 10, Period::Day, "Asia/Tokyo", 0);
    let ends_ms = replica.ledger.now_ns() / MS + 2_000;
    put_with_rules_that_end_at(&replica, &definition, ends_ms).await;
    another.registry().refresh().await.expect("the ledger answers");
    for replica in [&replica, &another] {
        assert!(left_ms(replica, "day").await <= 2_000, "not what the rules known here say");
    }
    let late = lease();
    assert!(is_granted(&replica.reserve(late, &[("day", 6)]).await));
    assert!(is_granted(&another.take(&[("day", 4)]).await));
    assert_eq!(no_room(&another.take(&[("day", 1)]).await), Some("day"));
    backend.pass(Duration::from_secs(2)).await;
    assert_eq!(replica.usage("day").await, Usage { available: 10, reserved: 0, debt: 0 }, "a refill is due");
    // Both find the window over. One begins the next window, for both.
    let takes = (0..12)
        .map(|turn| if turn % 2 == 0 { replica.take(&[("day", 1)]) } else { another.take(&[("day", 1)]) });
    let granted = join_all(takes).await.iter().filter(|outcome| is_granted(outcome)).count();
    assert_eq!(granted, 10, "the capacity of one window");
    assert_eq!(
        replica.complete(late, &[("day", 0)]).await,
        CompleteOutcome::NothingToDo,
        "of the window before"
    );
    assert_eq!(another.usage("day").await, Usage { available: 0, reserved: 10, debt: 0 });
    // The next window ends by the rules: at midnight in Tokyo. A replica that starts now reads that end from the ledger.
    let cold = Arc::new(Replica::start(backend.connect(), backend.ids(), 0).await);
    assert_eq!(no_room(&cold.take(&[("day", 1)]).await), Some("day"));
    for replica in [&replica, &another, &*cold] {
        let ends_ms = replica.ledger.now_ns() / MS + left_ms(replica, "day").await;
        let past_midnight_ms = (ends_ms + 9 * 3_600_000) % 86_400_000;
        assert!(past_midnight_ms.min(86_400_000 - past_midnight_ms) < 60_000, "{past_midnight_ms}");
    }
}

pub async fn a_new_calendar_keeps_what_was_spent<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(calendar("spend", 10, Period::Month, "UTC", 0)).await;
    let id = lease();
    replica.reserve(id, &[("spend", 7)]).await;
    another.registry().refresh().await.expect("the ledger answers");
    replica.put(calendar("spend", 10, Period::Month, "UTC", 15)).await;
    replica.put(calendar("spend", 10, Period::Year, "America/New_York", 4)).await;
    assert_eq!(replica.usage("spend").await, Usage { available: 3, reserved: 7, debt: 0 });
    assert_eq!(no_room(&another.take(&[("spend", 4)]).await), Some("spend"));
    another.complete(id, &[("spend", 2)]).await;
    assert_eq!(replica.usage("spend").await, Usage { available: 8, reserved: 2, debt: 0 });
    let lowered = calendar("spend", 1, Period::Year, "America/New_York", 4);
    assert_eq!(replica.put(lowered).await, Status::Decreasing { to: capacity(1) });
    replica.admin().delete(&key("spend")).await.expect("it is deleted");
    replica.put(fixed_window("spend", 10, 2, 0)).await;
    assert_eq!(replica.usage("spend").await.debt, 0);
    backend.pass(Duration::from_secs(2)).await;
    assert!(is_granted(&replica.take(&[("spend", 10)]).await), "its own clock refills the new kind");
}

pub async fn a_template_of_calendar_windows_hands_the_calendar_on<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(template(calendar("spend:{tenant}", 5, Period::Month, "Europe/Berlin", 31), 9)).await;
    another.registry().refresh().await.expect("the ledger answers");
    assert!(is_granted(&replica.take(&[("spend:acme", 3)]).await));
    assert!(is_granted(&another.take(&[("spend:acme", 2)]).await));
    assert_eq!(no_room(&replica.take(&[("spend:acme", 1)]).await), Some("spend:acme"));
    let kind = another.info("spend:acme").await.state().definition.kind;
    assert_eq!(kind, replica.info("spend:{tenant}").await.state().definition.kind);
}
