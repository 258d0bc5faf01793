//! Writes what is made from the tables of the configuration's members: `docs/schema.json`, and the reference in
//! `docs/configuration.md`. `make schema` runs it in the root of the repository.

use std::fs;
use std::io::{Error, ErrorKind};

use gate::config::schema;

fn main() -> Result<(), Error> {
    let json = serde_json::to_string_pretty(&schema::json_schema())?;
    fs::write("docs/schema.json", json + "\n")?;
    let reference = fs::read_to_string("docs/configuration.md")?;
    let reference = schema::write_reference(&reference).ok_or_else(|| {
        let reason = "docs/configuration.md: a table has no place, or a place no table";
        Error::new(ErrorKind::InvalidData, reason)
    })?;
    fs::write("docs/configuration.md", reference)
}
