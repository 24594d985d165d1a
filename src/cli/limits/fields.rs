//! The fields of a definition by their names in JSON, so that a new field needs no change here.

use std::fmt;

use ledger_limiter::client::Definition;
use ledger_limiter::limit::json::DefinitionJson;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::LimitsError;
use super::paint::printable;

/// Names and values in the order in which definitions are written. Fields that may be left out are left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Fields(Vec<(String, Value)>);

/// A field that two definitions have with different values; `None` if it is left out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) name: String,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

impl Fields {
    pub(super) fn of(definition: &Definition) -> Result<Self, LimitsError> {
        let text = serde_json::to_string(&DefinitionJson::from(definition))?;
        let Self(mut fields) = serde_json::from_str(&text)?;
        fields.retain(|(_, value)| value.as_u64() != Some(0) && value.as_str() != Some(""));
        Ok(Self(fields))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, Value)> {
        self.0.iter()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Sets a field, which keeps its place if it is there.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(own, _)| own == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The fields that differ, those of `self` first.
    pub(super) fn differences(&self, after: &Self) -> Vec<Difference> {
        let added = after.iter().filter(|(name, _)| self.get(name).is_none());
        let names = self.iter().chain(added).map(|(name, _)| name);
        let difference = |name: &String| {
            let (before, after) = (self.get(name).cloned(), after.get(name).cloned());
            (before != after).then(|| Difference { name: name.clone(), before, after })
        };
        names.filter_map(difference).collect()
    }
}

/// A value for people.
pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        None => "(left out)".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(value) => value.to_string(),
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
