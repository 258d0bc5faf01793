//! What Envoy reports over its admin interface.

use std::net::SocketAddr;

use super::Envoy;
use crate::client::{ClientError, Request};
use crate::message::Reply;
use crate::wait::{DEADLINE, until};

impl Envoy {
    /// Asks the admin interface.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn admin(&self, path: &str) -> Result<Reply, ClientError> {
        Request::new(self.admin, "GET", path).try_send().await
    }

    /// The value of a counter or gauge; `None` where there is none of this name.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let stats = self
            .admin(&format!("/stats?filter=%5E{name}%24"))
            .await
            .ok()?
            .text();
        stats.lines().find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(": ")?
                .trim()
                .parse()
                .ok()
        })
    }

    /// All counters and gauges whose names contain this, as text.
    pub async fn stats(&self, part: &str) -> Vec<(String, u64)> {
        let stats = self
            .admin("/stats")
            .await
            .map(|reply| reply.text())
            .unwrap_or_default();
        let parsed = stats.lines().filter_map(|line| line.split_once(": "));
        parsed
            .filter(|(name, _)| name.contains(part))
            .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
            .collect()
    }

    /// Waits until a counter or gauge is as it should be.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn wait_for_stat(&self, name: &str, fits: impl Fn(u64) -> bool) -> u64 {
        let wait = until(DEADLINE, name, async || {
            self.stat(name).await.filter(|value| fits(*value))
        })
        .await;
        match wait {
            Ok(value) => value,
            Err(error) => panic!("{error}: it is {:?}", self.stat(name).await),
        }
    }

    /// The listener's address, once every worker serves it.
    pub(super) async fn listening(&self) -> Option<SocketAddr> {
        let live = self.admin("/ready").await.ok()?.status == 200;
        if !live || self.stat("listener_manager.workers_started").await != Some(1) {
            return None;
        }
        let listeners = self.admin("/listeners?format=json").await.ok()?.json();
        let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
        let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
        Some(SocketAddr::new(
            address["address"].as_str()?.parse().ok()?,
            port,
        ))
    }

    /// Whether the listener's file was refused at least once.
    pub(super) async fn listener_refused(&self) -> bool {
        let count = async |name: &str| self.stat(&format!("listener_manager.lds.{name}")).await;
        count("update_rejected").await > Some(0) || count("update_failure").await > Some(0)
    }
}
