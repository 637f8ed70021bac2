//! From what one shard measured to histograms by tag: `shard-0/service/3-WindowAggregate…`,
//! `shard-0/ring-wait`, and latencies both per shard and over all of them.

use shards::profile::ShardProfile;

use super::{HistogramSet, merge, tag};
use crate::summary::{EVENT_LATENCY, SNAPSHOT, WINDOW_DELAY};

/// Characters of a node's headline that a tag keeps: enough to tell nodes apart.
const HEADLINE_CHARACTERS_MAX: usize = 48;

/// Adds what a shard measured to `set`.
pub fn collect(set: &mut HistogramSet, profile: &ShardProfile) {
    let shard = profile.shard;
    for (node, (headline, histogram)) in profile.service.iter().enumerate() {
        merge(set, &service_tag(shard, node, headline), histogram);
    }
    merge(set, &format!("shard-{shard}/ring-wait"), &profile.ring_wait);
    for (name, histogram) in [
        (EVENT_LATENCY, &profile.event_latency),
        (WINDOW_DELAY, &profile.window_delay),
        (SNAPSHOT, &profile.snapshot),
    ] {
        merge(set, name, histogram);
        merge(set, &format!("shard-{shard}/{name}"), histogram);
    }
}

fn service_tag(shard: usize, node: usize, headline: &str) -> String {
    let short: String = headline.chars().take(HEADLINE_CHARACTERS_MAX).collect();
    tag(&format!("shard-{shard}/service/{node}-{}", short.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_tag_names_shard_node_and_operator() {
        assert_eq!(
            service_tag(1, 4, "Map: filter a, b"),
            "shard-1/service/4-Map:-filter-a--b"
        );
        let long = "Source ".repeat(20);
        assert!(service_tag(0, 0, &long).len() <= "shard-0/service/0-".len() + HEADLINE_CHARACTERS_MAX);
    }
}
