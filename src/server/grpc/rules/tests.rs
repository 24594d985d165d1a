//! Rules by tables: what is read, what is refused, and which rule a descriptor finds.

use super::*;

const RULES: &str = r#"
[[rule]]
domain = "edge"
entries = [{ key = "generic_key", value = "admin" }]
limit = "admin:rpm"
enforce = false

[[rule]]
domain = "edge"
entries = [{ key = "generic_key" }]
limit = "any:{generic_key}"

[[rule]]
domain = "edge"
entries = [{ key = "header_match", value = "llm" }, { key = "x-tenant", as = "tenant" }]
limit = "tenant:{tenant}:tpm"
factor = 3
overrides = { "100/minute" = "tenant:{tenant}:tpm100" }
"#;

fn rules() -> Rules {
    Rules::parse(RULES).expect("valid rules")
}

fn key(domain: &str, entries: &[(&str, &str)]) -> Option<String> {
    let rules = rules();
    let key = rules.find(domain, entries)?.key(entries, None).expect("no override is wanted");
    key.map(|key| key.as_str().to_owned())
}

#[test]
fn the_first_rule_whose_entries_match_in_order_names_the_key() {
    for (domain, entries, expected) in [
        ("edge", &[("generic_key", "admin")][..], Some("admin:rpm")),
        ("edge", &[("generic_key", "user")], Some("any:user")),
        ("edge", &[("header_match", "llm"), ("x-tenant", "acme")], Some("tenant:acme:tpm")),
        ("edge", &[("header_match", "llm"), ("x-tenant", "a:b/é")], Some("tenant:a%3Ab/%C3%A9:tpm")),
        ("edge", &[("x-tenant", "acme"), ("header_match", "llm")], None),
        ("edge", &[("header_match", "web"), ("x-tenant", "acme")], None),
        ("edge", &[("header_match", "llm")], None),
        ("edge", &[("generic_key", "admin"), ("x-tenant", "acme")], None),
        ("edge", &[], None),
        ("other", &[("generic_key", "admin")], None),
    ] {
        assert_eq!(key(domain, entries).as_deref(), expected, "{domain} {entries:?}");
    }
}

#[test]
fn a_value_that_no_key_can_hold_makes_no_key() {
    let long = "x".repeat(246);
    assert_eq!(key("edge", &[("header_match", "llm"), ("x-tenant", &long)]), None, "257 bytes");
    assert!(key("edge", &[("header_match", "llm"), ("x-tenant", &long[1..])]).is_some(), "256 bytes");
    assert_eq!(key("edge", &[("header_match", "llm"), ("x-tenant", "")]), None);
}

#[test]
fn a_rule_tells_its_factor_and_whether_it_can_deny() {
    let rules = rules();
    let properties = |entries: &[(&str, &str)]| {
        let rule = rules.find("edge", entries).expect("a rule");
        (rule.factor.get(), rule.enforce)
    };
    assert_eq!(properties(&[("generic_key", "admin")]), (1, false));
    assert_eq!(properties(&[("header_match", "llm"), ("x-tenant", "acme")]), (3, true));
}

#[test]
fn an_override_has_a_key_only_if_the_rule_names_it() {
    let (rules, entries) = (rules(), [("header_match", "llm"), ("x-tenant", "acme")]);
    let rule = rules.find("edge", &entries).expect("a rule");
    let wanted = |requests, unit| Override::new(requests, unit).expect("a unit");
    let key = rule.key(&entries, Some(wanted(100, "MINUTE"))).expect("the rule names it").expect("a key");
    assert_eq!(key.as_str(), "tenant:acme:tpm100");
    let error = rule.key(&entries, Some(wanted(100, "hour"))).expect_err("the rule does not name it");
    assert_eq!(error.to_string(), "no rule allows the override 100/hour; add it to the rule's overrides");
    assert_eq!(Override::new(1, "fortnight"), None);
}

#[test]
fn an_error_names_the_rule_and_what_is_wrong() {
    let rule = |fields: &str| format!("[[rule]]\ndomain = 'd'\n{fields}\n");
    let entries = "entries = [{ key = 'a' }, { key = 'b-c' }]";
    for (text, cause) in [
        (String::new(), "missing field `rule`"),
        (rule("entries = []\nlimit = 'x'"), "rule 1: entries must hold at least one entry"),
        (rule("entries = [{ key = 'a' }]"), "missing field `limit`"),
        (rule(&format!("{entries}\nlimit = 'x y'")), "rule 1: limit \"x y\" must not hold ' '"),
        (
            rule(&format!("{entries}\nlimit = 'x:{{z}}'")),
            "rule 1: limit names {z}, but no entry has this name",
        ),
        (rule(&format!("{entries}\nlimit = 'x:{{a*}}'")), "rule 1: limit names {a*}, but no entry"),
        (rule(&format!("{entries}\nlimit = 'x-{{a}}'")), "a placeholder fills a whole segment"),
        (rule("entries = [{ key = 'a' }, { key = 'a' }]\nlimit = 'x:{a}'"), "several entries have this name"),
        (rule(&format!("{entries}\nlimit = 'x'\nfactor = 0")), "expected a nonzero"),
        (rule(&format!("{entries}\nlimit = 'x'\nlimits = 1")), "unknown field `limits`"),
        (
            rule(&format!("{entries}\nlimit = 'x'\noverrides = {{ '5/week' = 'y' }}")),
            "rule 1: overrides: \"5/week\" must be a number, a slash and one of",
        ),
        (
            format!("{0}{0}", rule("entries = [{ key = 'a' }]\nlimit = 'x'")),
            "rule 2: an earlier rule takes all its descriptors; put this one before it",
        ),
        (
            rule("entries = [{ key = 'a' }]\nlimit = 'x'").replace("'d'", "''"),
            "rule 1: domain must not be empty",
        ),
    ] {
        let error = Rules::parse(&text).expect_err(&text);
        assert!(error.contains(cause), "{text}: {error}");
    }
}
