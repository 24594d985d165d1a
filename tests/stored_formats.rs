//! A ledger and a registry file that version 0.1 wrote are read by this version. `tests/fixtures/README.md` says how the files
//! were made.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::memory::{Clock, ManualClock, MemoryLedger};
use ledger_limiter::ledger::{
    AccountCode, AccountId, AccountRule, Bound, Chain, ChainOutcome, Ledger, Movement, NewAccount, Transfer,
    TransferCode, TransferId, UserData,
};
use ledger_limiter::limit::json::LimitStateJson;
use ledger_limiter::protocol::{LimitInfo, ReserveAnswer};
use ledger_limiter::registry::LimitUsage;
use ledger_limiter::registry::file::RegistryFile;
use serde_json::{Value, json};
use ulid::Ulid;

use crate::fixtures::*;

/// The time of every lease id of the recording, in milliseconds since the Unix epoch.
const LEASES_MS: u128 = 1_767_225_600_000;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read_to_string(path).expect("the fixture exists")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn from_hex(value: &Value) -> u128 {
    u128::from_str_radix(value.as_str().expect("a text"), 16).expect("hexadecimal")
}

fn account(value: &Value) -> AccountId {
    AccountId::from_u128(from_hex(value))
}

fn units(value: &Value) -> u128 {
    value.as_str().expect("a text").parse().expect("an amount")
}

fn account_code(code: u64) -> AccountCode {
    match code {
        1 => AccountCode::Operator,
        2 => AccountCode::Registry,
        3 => AccountCode::Limit,
        4 => AccountCode::Debt,
        5 => AccountCode::Spent,
        6 => AccountCode::Clock,
        7 => AccountCode::Borrowed,
        8 => AccountCode::Measure,
        _ => panic!("version 0.1 had no account code {code}"),
    }
}

fn new_account(line: &Value) -> NewAccount {
    let rule = if line["constrained"].as_bool().expect("true or false") {
        AccountRule::DebitsMustNotExceedCredits
    } else {
        AccountRule::Unconstrained
    };
    NewAccount { id: account(&line["id"]), rule, code: account_code(number(&line["code"])) }
}

fn movement(line: &Value) -> Movement {
    match line[0].as_str().expect("a movement") {
        "post" => {
            Movement::Post { debit: account(&line[1]), credit: account(&line[2]), amount: units(&line[3]) }
        }
        "post_up_to" => Movement::PostUpTo {
            debit: account(&line[1]),
            credit: account(&line[2]),
            amount: units(&line[3]),
            bound: match line[4].as_str().expect("a bound") {
                "debit_balance" => Bound::DebitBalance,
                "credit_owed" => Bound::CreditOwed,
                "both" => Bound::Both,
                other => panic!("version 0.1 had no bound {other}"),
            },
        },
        "pend" => Movement::Pend {
            debit: account(&line[1]),
            credit: account(&line[2]),
            amount: units(&line[3]),
            timeout_seconds: number(&line[4]) as u32,
        },
        "close" => Movement::Close { debit: account(&line[1]), credit: account(&line[2]) },
        "void" => Movement::Void { pending: TransferId::from_u128(from_hex(&line[1])) },
        other => panic!("version 0.1 had no movement {other}"),
    }
}

fn transfer(line: &Value) -> Transfer {
    let code = TransferCode::from_u16(number(&line["code"]) as u16).expect("a code of version 0.1");
    let user_data = UserData {
        wide: from_hex(&line["wide"]),
        long: number(&line["long"]),
        short: number(&line["short"]) as u32,
    };
    Transfer {
        id: TransferId::from_u128(from_hex(&line["id"])),
        code,
        user_data,
        movement: movement(&line["movement"]),
    }
}

/// Writes the recording into an empty ledger, at the recorded times. Asserts that every outcome is the recorded one.
async fn replay() -> (Arc<MemoryLedger<Arc<ManualClock>>>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let start_ns = clock.now_ns();
    let ledger = Arc::new(MemoryLedger::new(Arc::clone(&clock), Duration::from_secs(600)));
    for line in fixture("ledger_0_1.jsonl").lines() {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let wait_ns = number(&line["at_ns"]) - (clock.now_ns() - start_ns);
        clock.advance(Duration::from_nanos(wait_ns));
        if let Some(accounts) = line["accounts"].as_array() {
            let accounts = accounts.iter().map(new_account).collect();
            ledger.create_accounts(accounts).await.expect("the accounts of version 0.1");
            continue;
        }
        let transfers = line["chain"].as_array().expect("a chain").iter().map(transfer);
        let chain = Chain::new(transfers).expect("a chain is never empty");
        let outcome = match ledger.submit_one(chain).await.expect("the memory ledger answers") {
            ChainOutcome::Created { timestamp_ns } => json!({ "created_ns": timestamp_ns - start_ns }),
            ChainOutcome::Refused { index, .. } => json!({ "refused_index": index }),
        };
        assert_eq!(outcome, line["outcome"], "{line}");
    }
    (ledger, clock)
}

fn recorded_lease(number: u64) -> ledger_limiter::limit::LeaseId {
    ledger_limiter::limit::LeaseId::from_ulid(Ulid(LEASES_MS << 80 | u128::from(number))).expect("not zero")
}

/// The limits as that version showed them: without the number of their version.
fn infos(usages: &[LimitUsage]) -> Value {
    let info = |usage| {
        let mut info = serde_json::to_value(LimitInfo::from(usage)).expect("it is JSON");
        info.as_object_mut().expect("an object").remove("version");
        info
    };
    usages.iter().map(info).collect()
}

#[tokio::test]
async fn a_ledger_of_version_0_1_is_read_and_settled() {
    let (ledger, clock) = replay().await;
    clock.advance(Duration::from_millis(2_500));
    let expected: Value = serde_json::from_str(&fixture("ledger_0_1_expected.json")).expect("JSON");
    let replica = Replica::start(ledger, Ids::new(1), 0).await;

    let before = replica.admin().list().await.expect("the ledger answers");
    assert_eq!(infos(&before), expected["limits_before"], "every definition, status and usage");
    let instance = infos(&[replica.info("tenant:acme:tokens").await]);
    assert_eq!(instance[0], expected["instance"]);

    for answer in expected["answers"].as_array().expect("a list") {
        let wants: Vec<(String, u64)> =
            serde_json::from_value(answer["wants"].clone()).expect("requirements");
        let wants: Vec<(&str, u64)> = wants.iter().map(|(key, amount)| (key.as_str(), *amount)).collect();
        let lease = recorded_lease(number(&answer["lease"]));
        let again = ReserveAnswer::from(replica.reserve(lease, &wants).await);
        let answered = json!({
            "lease": answer["lease"], "wants": answer["wants"], "allowed": again.allowed,
            "error": again.error, "reserved_at_unix_ms": again.reserved_at_unix_ms,
        });
        assert_eq!(answered, *answer);
    }

    let bucket = key("bucket");
    let object = replica.limiter().object(&bucket);
    let ahead = object.reserve(amount(10), recorded_lease(10)).await.expect("it was reserved ahead");
    assert_eq!(ahead.date_to_act, number(&expected["date_to_act"]));
    assert!(object.cancel(recorded_lease(10)).await.expect("its date to act is later"));
    let refilled_before = ReplenishId::from_ulid(Ulid(LEASES_MS << 80 | 501)).expect("not zero");
    assert!(replica.admin().replenish(&key("manual"), refilled_before).await.expect("it was refilled"));

    replica.complete(recorded_lease(1), &[("tpm", 100), ("daily", 100)]).await;
    replica.complete(recorded_lease(5), &[("tpm", 1_100), ("daily", 1_000)]).await;
    let scheduled = [("bucket", 1), ("manual", 1), ("hour", 1), ("minute", 1)];
    replica.complete(recorded_lease(7), &scheduled).await;
    replica.complete(recorded_lease(8), &[("tenant:acme:tokens", 10)]).await;
    replica.complete(recorded_lease(9), &[("lowered", 1)]).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    let after = replica.admin().list().await.expect("the ledger answers");
    assert_eq!(infos(&after), expected["limits_after"], "the leases are settled as version 0.1 settles them");
}

#[test]
fn a_registry_file_of_version_0_1_is_read_and_written_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registry.json");
    let text = fixture("registry_0_1.json");
    fs::write(&path, &text).expect("it is written");
    let states = RegistryFile::new(path, false).read().expect("it is valid");
    let written: Vec<LimitStateJson> = states.iter().map(LimitStateJson::from).collect();
    assert_eq!(serde_json::to_string_pretty(&written).expect("it is JSON") + "\n", text);
}
