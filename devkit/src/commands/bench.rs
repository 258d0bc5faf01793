//! `devkit bench`.

use anyhow::bail;

use crate::Arguments;

pub async fn bench(_: &Arguments) -> anyhow::Result<()> {
    bail!("bench: not built yet")
}
