//! Where the microseconds went: HdrHistograms of one shard, handed to the control thread whole.
