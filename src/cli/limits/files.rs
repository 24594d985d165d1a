//! Reads definitions from files and folders, in JSON and YAML.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ledger_limiter::client::{Definition, LimitKey};
use ledger_limiter::limit::json::DefinitionJson;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The name that means standard input.
const STDIN: &str = "-";

/// Why files hold no definitions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error("{path}: cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}: the name must end in .json, .yaml or .yml")]
    Extension(PathBuf),
    #[error("{0}: the folder holds no file whose name ends in .json, .yaml or .yml")]
    EmptyFolder(PathBuf),
    #[error("{path}: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("{place}: {message}")]
    Definition { place: Place, message: String },
    #[error("{second}: limit {key} is already defined at {first}")]
    Twice { key: LimitKey, first: Place, second: Place },
}

/// Where a definition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    path: PathBuf,
    /// Counted from 1 through the file.
    number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: definition {}", self.path.display(), self.number)
    }
}

/// The languages of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// One definition, or a list of them.
struct OneOrMany(Vec<DefinitionJson>);

/// Reads the definitions of files, of folders with all their sub-folders, and of standard input (`-`), sorted by key. No key
/// may be defined twice.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Definition>, FilesError> {
    let mut found: BTreeMap<LimitKey, (Place, Definition)> = BTreeMap::new();
    for path in paths {
        for (place, definition) in read_path(path)? {
            let key = definition.key.clone();
            if let Some((first, _)) = found.get(&key) {
                return Err(FilesError::Twice { key, first: first.clone(), second: place });
            }
            found.insert(key, (place, definition));
        }
    }
    Ok(found.into_values().map(|(_, definition)| definition).collect())
}

fn read_path(path: &Path) -> Result<Vec<(Place, Definition)>, FilesError> {
    if path.as_os_str() == STDIN {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(unreadable(path))?;
        // Every JSON text is YAML, too.
        return definitions(Path::new("standard input"), Format::Yaml, &text);
    }
    if !fs::metadata(path).map_err(unreadable(path))?.is_dir() {
        let format = Format::of(path).ok_or_else(|| FilesError::Extension(path.to_owned()))?;
        return read_file(path, format);
    }
    let mut files = Vec::new();
    files_of(path, &mut files)?;
    if files.is_empty() {
        return Err(FilesError::EmptyFolder(path.to_owned()));
    }
    let mut found = Vec::new();
    for (file, format) in files {
        found.extend(read_file(&file, format)?);
    }
    Ok(found)
}

/// The files of a folder and its sub-folders, sorted by name. Names that begin with a dot are left out: Kubernetes and editors
/// keep copies under them.
fn files_of(folder: &Path, files: &mut Vec<(PathBuf, Format)>) -> Result<(), FilesError> {
    let entries: io::Result<Vec<PathBuf>> =
        fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries = entries.map_err(unreadable(folder))?;
    entries.sort();
    for path in entries {
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        if fs::metadata(&path).map_err(unreadable(&path))?.is_dir() {
            files_of(&path, files)?;
        } else if let Some(format) = Format::of(&path) {
            files.push((path, format));
        }
    }
    Ok(())
}

fn read_file(path: &Path, format: Format) -> Result<Vec<(Place, Definition)>, FilesError> {
    definitions(path, format, &fs::read_to_string(path).map_err(unreadable(path))?)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> FilesError + use<> {
    let path = path.to_owned();
    move |source| FilesError::Read { path, source }
}

/// The definitions of a text. `path` names it in errors.
fn definitions(path: &Path, format: Format, text: &str) -> Result<Vec<(Place, Definition)>, FilesError> {
    let syntax = |message: String| FilesError::Syntax { path: path.to_owned(), message };
    let documents: Vec<OneOrMany> = match format {
        Format::Json => vec![serde_json::from_str(text).map_err(|error| syntax(error.to_string()))?],
        Format::Yaml => yaml(text).map_err(syntax)?,
    };
    let all = documents.into_iter().flat_map(|OneOrMany(definitions)| definitions);
    let checked = all.enumerate().map(|(index, json)| {
        let place = Place { path: path.to_owned(), number: index + 1 };
        match json.into_definition() {
            Ok(definition) => Ok((place, definition)),
            Err(error) => Err(FilesError::Definition { place, message: error.to_string() }),
        }
    });
    checked.collect()
}

fn yaml(text: &str) -> Result<Vec<OneOrMany>, String> {
    // The budget is for texts of strangers. A file of 100,000 limits is longer than it allows.
    let options = serde_saphyr::options! { budget: None };
    let documents = serde_saphyr::from_multiple_with_options(text, options);
    documents.map_err(|error| error.without_snippet().to_string())
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a definition or a list of definitions")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMany, A::Error> {
                DefinitionJson::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMany(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<OneOrMany, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(OneOrMany)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
