//! Calls take from their limits, and settle them.

use std::time::{Duration, SystemTime};

use super::*;

const PRICES: &str = r#"{ "currency": "USD", "prices": [
    { "provider": "openai", "model": "gpt-4o", "starts_on": "1970-01-01",
      "micros_per_million_tokens": { "input": 2500000, "cached_input": 1250000, "output": 10000000 } },
    { "provider": "openai", "model": "gpt-4o", "starts_on": "1970-01-03",
      "micros_per_million_tokens": { "input": 2000000, "output": 8000000, "reasoning": 9000000 } },
    { "provider": "anthropic", "model": "claude", "micros_per_million_tokens":
      { "input": 3000000, "cached_input": 300000, "cache_write_input": 3750000, "output": 15000000 } }
] }"#;

fn prices() -> PriceTable {
    PriceTable::parse(PRICES).expect("valid")
}

fn price() -> Price {
    prices().price("openai", "gpt-4o", SystemTime::UNIX_EPOCH).expect("it has one")
}

fn wanted(call: &LlmCall, prompt: &str, output_tokens_max: u64) -> Vec<(String, u64)> {
    let requirements = call.requirements(prompt, output_tokens_max).expect("valid");
    requirements.list().iter().map(|wants| (wants.key.to_string(), wants.amount.get())).collect()
}

fn of_model(limit: &str, amount: u64) -> (String, u64) {
    (format!("global:llm:openai:gpt-4o:{limit}"), amount)
}

#[test]
fn a_call_takes_from_the_limits_of_its_model_and_tenant() {
    let call = LlmCall::new("openai", "gpt-4o");
    let model = [of_model("concurrency", 1), of_model("rpm", 1), of_model("tpm", 106)];
    assert_eq!(wanted(&call, "Grüß", 100), model);
    let call = call.with_daily_tokens("acme");
    let daily = ("tenant:acme:llm:daily_tokens".to_owned(), 106);
    assert_eq!(wanted(&call, "Grüß", 100), [&model[..], &[daily]].concat());
    let actuals: Vec<_> = call.actuals(42).collect();
    assert_eq!(actuals, [("global:llm:openai:gpt-4o:tpm", 42), ("tenant:acme:llm:daily_tokens", 42)]);
}

#[test]
fn one_reserve_covers_token_types_and_money() {
    let call = LlmCall::new("openai", "gpt-4o").with_token_types().with_cost("acme", price());
    let expected = [
        of_model("cached_input_tpm", 6),
        of_model("concurrency", 1),
        of_model("input_tpm", 6),
        of_model("output_tpm", 100),
        of_model("rpm", 1),
        of_model("tpm", 106),
        // 6 x 2.5 + 100 x 10.
        ("tenant:acme:llm:cost:usd".to_owned(), 1_015),
    ];
    assert_eq!(wanted(&call, "Grüß", 100), expected);
}

#[test]
fn one_complete_settles_token_types_and_money() {
    let call = LlmCall::new("openai", "gpt-4o").with_token_types().with_cost("acme", price());
    let usage = TokenUsage { input: 3, cached_input: 2, cache_write_input: 1, output: 20, reasoning: 30 };
    let expected = [
        ("global:llm:openai:gpt-4o:tpm", 56),
        ("global:llm:openai:gpt-4o:input_tpm", 4),
        ("global:llm:openai:gpt-4o:cached_input_tpm", 2),
        ("global:llm:openai:gpt-4o:output_tpm", 50),
        // 4 x 2.5 + 2 x 1.25 + 50 x 10 = 512.5.
        ("tenant:acme:llm:cost:usd", 513),
    ];
    assert_eq!(call.actuals_of(&usage), Ok(expected.to_vec()));
    let none = call.actuals_of(&TokenUsage::default()).expect("it fits");
    assert_eq!(none, expected.map(|(key, _)| (key, 0)));
    let too_many = TokenUsage { input: u64::MAX, ..TokenUsage::default() };
    assert!(call.actuals_of(&too_many).is_err());
}

#[test]
fn a_longer_output_extends_what_counts_it() {
    let call = LlmCall::new("openai", "gpt-4o").with_token_types().with_cost("acme", price());
    let expected = [
        ("global:llm:openai:gpt-4o:tpm", 7),
        ("global:llm:openai:gpt-4o:output_tpm", 7),
        ("tenant:acme:llm:cost:usd", 70),
    ];
    assert_eq!(call.extension(7), Ok(expected.to_vec()));
    assert_eq!(call.extension(0), Ok(Vec::new()));
}

#[test]
fn a_call_without_output_or_cost_holds_one_unit_to_be_settled() {
    let free = r#"{ "currency": "EUR", "prices": [
        { "provider": "own", "model": "free", "micros_per_million_tokens": { "input": 0, "output": 0 } } ] }"#;
    let free =
        PriceTable::parse(free).expect("valid").price("own", "free", SystemTime::now()).expect("it has one");
    let call = LlmCall::new("own", "free").with_limit("spend", Measure::Cost(free));
    let call = call.with_limit("output", Measure::OutputTokens);
    let amount_of =
        |key: &str| wanted(&call, "p", 0).into_iter().find(|(found, _)| found == key).expect("wanted").1;
    assert_eq!((amount_of("spend"), amount_of("output")), (1, 1));
}

#[test]
fn a_price_starts_on_its_day() {
    let day = Duration::from_secs(86_400);
    for (age, output) in [
        (Duration::ZERO, 10),
        (day, 10),
        (2 * day - Duration::from_nanos(1), 10),
        (2 * day, 8),
        (20_000 * day, 8),
    ] {
        let price = prices().price("openai", "gpt-4o", SystemTime::UNIX_EPOCH + age).expect("it has one");
        let usage = TokenUsage { output: 1, ..TokenUsage::default() };
        assert_eq!(price.cost_micros(&usage), Ok(output), "{age:?}");
    }
}

#[test]
fn prices_that_are_left_out_are_those_of_input_and_output() {
    let price = prices().price("openai", "gpt-4o", SystemTime::now()).expect("it has one");
    let usage =
        TokenUsage { input: 1, cached_input: 10, cache_write_input: 100, output: 1_000, reasoning: 10_000 };
    assert_eq!(price.cost_micros(&usage), Ok(2 * 111 + 8 * 1_000 + 9 * 10_000));
    let price = prices().price("anthropic", "claude", SystemTime::now()).expect("it has one");
    assert_eq!(price.cost_micros(&usage), Ok(3 + 3 + 375 + 15 * 11_000));
}

#[test]
fn an_unknown_model_says_what_to_add() {
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    for (provider, model, at, day) in [
        ("openai", "gpt-5", SystemTime::UNIX_EPOCH, "1970-01-01"),
        ("Anthropic", "claude", SystemTime::UNIX_EPOCH, "1970-01-01"),
        ("openai", "gpt-4o", before, "1969-12-31"),
    ] {
        let error = prices().price(provider, model, at).expect_err("it has none").to_string();
        let expected = format!(
            "the price table has no price of provider \"{provider}\" and model \"{model}\" on {day}: add {{\"provider\": \
             \"{provider}\", \"model\": \"{model}\", \"micros_per_million_tokens\": {{\"input\": ..., \"output\": ...}}}} to its \
             prices"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn a_table_with_a_fault_is_refused() {
    let of = |price: &str| format!(r#"{{ "currency": "USD", "prices": [ {price} ] }}"#);
    let rates = |rates: &str| {
        of(&format!(r#"{{ "provider": "p", "model": "m", "micros_per_million_tokens": {{ {rates} }} }}"#))
    };
    let named =
        |names: &str| format!(r#"{{ {names}, "micros_per_million_tokens": {{ "input": 1, "output": 1 }} }}"#);
    let both = r#""provider": "p", "model": "m""#;
    for (json, expected) in [
        (r#"{ "currency": "usd", "prices": [] }"#.to_owned(), "currency must be three upper-case letters"),
        (r#"{ "prices": [] }"#.to_owned(), "the price table is malformed: missing field `currency`"),
        (rates(r#""input": 1"#), "the price table is malformed: missing field `output`"),
        (rates(r#""input": -1, "output": 1"#), "the price table is malformed: invalid value: integer `-1`"),
        (
            rates(r#""input": 2.5, "output": 1"#),
            "the price table is malformed: invalid type: floating point `2.5`",
        ),
        (
            rates(r#""input": 1, "input": 1, "output": 1"#),
            "the price table is malformed: duplicate field `input`",
        ),
        (
            rates(r#""input": 1, "output": 1, "image": 1"#),
            "the price table is malformed: unknown field `image`",
        ),
        (
            rates(r#""input": 1, "output": 1000000000000001"#),
            "prices[0].micros_per_million_tokens.output must be at most 1000000000000000, not 1000000000000001",
        ),
        (of(&named(r#""provider": "", "model": "m""#)), "prices[0].provider must not be empty"),
        (of(&named(r#""provider": "p", "model": """#)), "prices[0].model must not be empty"),
        (
            of(&named(&format!(r#"{both}, "starts_on": "20260131""#))),
            "prices[0].starts_on must be a day such as",
        ),
        (
            of(&named(&format!(r#"{both}, "starts_on": "2026-02-30""#))),
            "prices[0].starts_on must be a day such as",
        ),
        (
            of(&[named(both), named(both)].join(",")),
            "prices[1] repeats the price of p m with the same starts_on",
        ),
    ] {
        let error = PriceTable::parse(&json).expect_err("refused").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = PriceTable::read("no/such/prices.json").expect_err("refused").to_string();
    assert_eq!(error, "cannot read the price table no/such/prices.json");
}

#[test]
fn a_name_fills_one_segment() {
    let call =
        LlmCall::new("open router", "llama3:8b").with_daily_tokens("user:ann").with_cost("user:ann", price());
    let keys: Vec<&str> = call.token_keys().collect();
    assert_eq!(keys, ["global:llm:open%20router:llama3%3A8b:tpm", "tenant:user%3Aann:llm:daily_tokens"]);
    let cost = wanted(&call, "prompt", 1).into_iter().find(|(key, _)| key.contains(":cost:"));
    assert_eq!(cost.expect("it takes the cost").0, "tenant:user%3Aann:llm:cost:usd");
}

#[test]
fn the_estimate_can_be_replaced() {
    let words = |prompt: &str| prompt.split(' ').count() as u64;
    let call = LlmCall::new("openai", "gpt-4o").with_estimate(words);
    assert_eq!(wanted(&call, "three short words", 10)[2].1, 13);
}

#[test]
fn bad_names_and_amounts_are_refused() {
    assert!(LlmCall::new("openai", &"m".repeat(256)).requirements("prompt", 1).is_err());
    assert!(LlmCall::new("openai", "gpt-4o").requirements("", 0).is_err());
    assert!(LlmCall::new("openai", "gpt-4o").requirements("prompt", u64::MAX).is_err());
    let call = LlmCall::new("openai", "gpt-4o").with_cost("acme", price());
    let error = call.requirements("prompt", u64::MAX / 4).expect_err("the cost is too large").to_string();
    assert_eq!(error, "the cost in millionths must be at most 9223372036854775807");
}
