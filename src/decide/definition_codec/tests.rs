//! Definition versions are encoded and read back; damaged versions are reported once and skipped.

use super::*;
use crate::ledger::{AccountId, Movement, Transfer, TransferCode, TransferId};
use crate::limit::{AllotmentPeriod, KindFields, KindName};

fn recorded(user_data: UserData, timestamp_ns: u64) -> Recorded {
    let end = AccountId::from_u128(1);
    let movement = Movement::Post { debit: end, credit: end, amount: 0 };
    let transfer =
        Transfer { id: TransferId::from_u128(1), code: TransferCode::Definition, user_data, movement };
    Recorded { transfer, timestamp_ns }
}

fn state(description: &str, status: Status) -> LimitState {
    let definition = Definition::new(
        LimitKey::parse(&"k".repeat(256)).expect("valid"),
        Kind::new(KindName::Concurrency, 0, 300).expect("valid"),
        Amount::MAX,
        "slots",
        description,
        Overage::Deny,
    );
    LimitState { status, ..LimitState::active(definition.expect("valid")) }
}

fn of_template() -> [LimitState; 2] {
    let template = LimitKey::parse_name("tenant:{tenant}").expect("valid");
    let kind = Kind::new(KindName::Rolling, 60, 0).expect("valid");
    let capacity = Amount::new(5).expect("valid");
    let definition = Definition::new(template.clone(), kind, capacity, "", "", Overage::Debt).expect("valid");
    let instance = definition.for_instance(LimitKey::parse("tenant:acme").expect("valid"));
    let origin = Some(Box::new(Origin { template, version: 7 }));
    [
        LimitState::active(definition.with_instances_max(3).expect("valid")),
        LimitState { origin, ..LimitState::active(instance) },
    ]
}

fn bounded_buckets() -> [LimitState; 2] {
    let fields = KindFields { refill_amount: 1, refill_interval_ms: 100, ..KindFields::default() };
    ["bucket", "user:{user}"].map(|name| {
        let kind = Kind::from_fields(KindName::TokenBucket, &fields).expect("valid");
        let key = LimitKey::parse_name(name).expect("valid");
        let definition = Definition::new(key, kind, Amount::MAX, "", "", Overage::Debt).expect("valid");
        LimitState::active(definition.with_max_wait_ms(5_000).expect("valid"))
    })
}

fn granting_alone(state: LimitState) -> LimitState {
    let share = EmergencyShare::new(0.25, 90).expect("valid");
    let on_unavailable = OnUnavailable::Allow(share);
    LimitState { definition: Definition { on_unavailable, ..state.definition }, ..state }
}

fn in_shadow_mode(state: LimitState) -> LimitState {
    LimitState { definition: Definition { enforce: false, ..state.definition }, ..state }
}

fn with_queue(state: LimitState) -> LimitState {
    let queueing = Queueing { order: QueueOrder::NewestFirst, max_waiting: Some(300) };
    LimitState { definition: Definition { queueing, ..state.definition }, ..state }
}

fn delegated(state: LimitState) -> LimitState {
    let kind = Kind::new(KindName::Rolling, 60, 0).expect("valid");
    let definition = Definition { kind, wait_max: WaitMax::default(), ..state.definition };
    let period = AllotmentPeriod::new(1_000).expect("valid");
    LimitState { definition: definition.with_allotment(period).expect("a rolling limit"), ..state }
}

fn in_money(state: LimitState) -> LimitState {
    let texts = Definition::new(
        state.definition.key.clone(),
        state.definition.kind,
        state.definition.capacity,
        "USD",
        state.definition.texts.description(),
        Overage::Debt,
    );
    let definition = Definition { texts: texts.expect("valid").texts, ..state.definition };
    let unit_micros = UnitMicros::new(1_000_000_000_000).expect("valid");
    LimitState { definition: definition.with_unit_micros(unit_micros).expect("it names a unit"), ..state }
}

fn alerting(state: LimitState) -> LimitState {
    let alerts = AlertThresholds::new(&[1, 80, 95, 100]).expect("valid");
    LimitState { definition: Definition { alerts, ..state.definition }, ..state }
}

#[test]
fn versions_are_decoded_as_they_were_encoded() {
    let to = Capacity::new(7).expect("valid");
    let [template, instance] = of_template();
    let [bounded, bounded_template] = bounded_buckets();
    let states = [
        state("", Status::Active),
        state(&"d".repeat(1024), Status::Decreasing { to }),
        template,
        LimitState { accounts_since: [2].into(), ..granting_alone(instance.clone()) },
        LimitState { accounts_since: [2].into(), ..instance.clone() },
        granting_alone(instance.clone()),
        instance.clone(),
        with_queue(instance.clone()),
        with_queue(in_shadow_mode(granting_alone(instance.clone()))),
        delegated(instance.clone()),
        delegated(with_queue(granting_alone(instance.clone()))),
        delegated(state("", Status::Active)),
        in_money(instance.clone()),
        in_money(delegated(with_queue(granting_alone(instance.clone())))),
        in_money(in_shadow_mode(bounded.clone())),
        alerting(instance.clone()),
        alerting(delegated(instance.clone())),
        alerting(with_queue(state("", Status::Retired))),
        in_money(alerting(state("", Status::Active))),
        granting_alone(bounded.clone()),
        granting_alone(state("", Status::Deleted)),
        in_shadow_mode(state("", Status::Active)),
        in_shadow_mode(granting_alone(instance.clone())),
        in_shadow_mode(bounded.clone()),
        bounded,
        bounded_template,
        LimitState { accounts_since: [3, 300].into(), ..state("on its third account", Status::Active) },
        state("é", Status::Deleted),
        state("é", Status::Retired),
    ];
    let mut assembler = Assembler::default();
    let (mut read, mut replaced) = (Vec::new(), Vec::new());
    for (number, state) in (1..).zip(&states) {
        for part in encode(number, state, None, None).expect("encodes") {
            read.extend(assembler.push(&recorded(part, 5)).expect("a part"));
        }
        for part in encode(number, state, Some(u64::MAX - number), Some(number)).expect("encodes") {
            replaced.extend(assembler.push(&recorded(part, 5)).expect("a part"));
        }
    }
    let expected: Vec<DefinitionVersion> = (1..)
        .zip(states)
        .map(|(number, state)| DefinitionVersion {
            number,
            state,
            schedule_since_ns: None,
            first_window_ends_ms: None,
            timestamp_ns: 5,
        })
        .collect();
    assert_eq!(read, expected);
    let replaces = |version: DefinitionVersion| DefinitionVersion {
        schedule_since_ns: Some(u64::MAX - version.number),
        first_window_ends_ms: Some(version.number),
        ..version
    };
    assert_eq!(replaced, expected.into_iter().map(replaces).collect::<Vec<_>>());
}

#[test]
fn damaged_versions_are_reported_once_and_skipped() {
    let parts = encode(1, &state("", Status::Active), None, None).expect("encodes");
    let mut assembler = Assembler::default();
    let error = assembler.push(&recorded(parts[1], 5)).expect_err("part 1 first");
    assert_eq!(error.to_string(), "the log holds part 1 of a definition where part 0 is expected");
    let newer = UserData { wide: parts[0].wide + 1, ..parts[0] };
    let error = assembler.push(&recorded(newer, 5)).expect_err("format 2");
    assert_eq!(error.to_string(), "a definition has format 2, and this program reads format 1");
    let rest = parts[1..].iter().map(|part| assembler.push(&recorded(*part, 5)));
    assert!(rest.into_iter().all(|read| matches!(read, Ok(None))), "reported once, then skipped");
    let again: Vec<_> =
        parts.iter().filter_map(|part| assembler.push(&recorded(*part, 5)).expect("good")).collect();
    assert_eq!(again.len(), 1, "the next version is decoded");
}
