//! The Nexmark model: proportions, determinism, event times and splits.

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMillisecondType};

use super::*;

fn generator(table: NexmarkTable, seed: u64) -> NexmarkGenerator {
    let config = NexmarkConfig {
        seed,
        ..NexmarkConfig::default()
    };
    NexmarkGenerator::new(config, table, table.schema()).unwrap()
}

const TABLES: [NexmarkTable; 4] = [
    NexmarkTable::Person,
    NexmarkTable::Auction,
    NexmarkTable::Bid,
    NexmarkTable::All,
];

#[test]
fn rows_do_not_depend_on_how_ranges_are_cut() {
    for table in TABLES {
        let generator = generator(table, 5);
        let whole = generator.rows(0..5_003);
        assert_eq!(whole.num_rows() as u64, table.rows_of(5_003));
        let cuts = [0, 1, 2, 49, 50, 51, 53, 54, 1_000, 4_999, 5_003];
        let parts: Vec<_> = cuts
            .windows(2)
            .map(|cut| generator.rows(cut[0]..cut[1]))
            .collect();
        assert_eq!(whole, concat_batches(generator.schema(), &parts).unwrap());
    }
}

#[test]
fn a_column_does_not_depend_on_the_others_wanted() {
    for table in TABLES {
        let all = generator(table, 5).rows(100..400);
        for (index, field) in table.schema().fields().iter().enumerate() {
            let wanted = Arc::new(Schema::new(vec![field.clone()]));
            let one = NexmarkGenerator::new(
                NexmarkConfig {
                    seed: 5,
                    ..Default::default()
                },
                table,
                wanted,
            );
            assert_eq!(
                one.unwrap().rows(100..400).column(0),
                all.column(index),
                "{}",
                field.name()
            );
        }
    }
}

#[test]
fn proportions_times_and_ids_are_those_of_the_model() {
    let all = generator(NexmarkTable::All, 1).rows(0..100_000);
    let kinds = all.column(0).as_primitive::<Int32Type>();
    let count = |kind| kinds.values().iter().filter(|&&found| found == kind).count();
    assert_eq!((count(0), count(1), count(2)), (2_000, 6_000, 92_000));
    let times = all.column(4).as_primitive::<TimestampMillisecondType>().values();
    assert!((0..100_000).all(|event| times[event] == 1_704_067_200_000 + event as i64 / 10));

    let persons = generator(NexmarkTable::Person, 1).rows(0..100_000);
    let ids = persons.column(0).as_primitive::<Int64Type>().values();
    assert!(ids.iter().copied().eq(1_000..3_000));
    let auctions = generator(NexmarkTable::Auction, 1).rows(0..100_000);
    let ids = auctions.column(0).as_primitive::<Int64Type>().values();
    assert!(ids.iter().copied().eq(1_000..7_000));
    let opened = auctions
        .column(5)
        .as_primitive::<TimestampMillisecondType>()
        .values();
    let expires = auctions
        .column(6)
        .as_primitive::<TimestampMillisecondType>()
        .values();
    assert!(
        opened
            .iter()
            .zip(expires)
            .all(|(opened, expires)| opened < expires)
    );
}

#[test]
fn hot_auctions_bidders_and_channels_take_their_shares() {
    let bids = generator(NexmarkTable::Bid, 1).rows(1_000_000..1_050_000);
    let rows = bids.num_rows() as f64;
    let share = |column: usize, is_hot: &dyn Fn(i64) -> bool| {
        let values = bids.column(column).as_primitive::<Int64Type>().values();
        values.iter().filter(|&&value| is_hot(value)).count() as f64 / rows
    };
    let hot_auctions = share(0, &|id| id % 100 == 0);
    assert!((0.49..0.52).contains(&hot_auctions), "{hot_auctions}");
    let hot_bidders = share(1, &|id| id % 100 == 1);
    assert!((0.74..0.77).contains(&hot_bidders), "{hot_bidders}");
    let cheap = share(2, &|price| price < 100_000);
    assert!((0.49..0.51).contains(&cheap), "{cheap}");
    assert!(share(2, &|price| (100..=100_000_000).contains(&price)) == 1.0);
    let channels = bids.column(3).as_string::<i32>();
    let hot = channels
        .iter()
        .flatten()
        .filter(|name| !name.starts_with("channel-"))
        .count() as f64
        / rows;
    assert!((0.49..0.51).contains(&hot), "{hot}");
}

#[test]
fn texts_look_as_published() {
    let bids = generator(NexmarkTable::Bid, 1).rows(0..5_000);
    let (channels, urls) = (
        bids.column(3).as_string::<i32>(),
        bids.column(4).as_string::<i32>(),
    );
    let mut known = std::collections::BTreeMap::new();
    let mut with_id = 0;
    for (channel, url) in channels.iter().zip(urls.iter()) {
        let (channel, url) = (channel.unwrap(), url.unwrap());
        assert_eq!(*known.entry(channel).or_insert(url), url, "one URL per channel");
        let rest = url.strip_prefix("https://www.nexmark.com/").unwrap();
        let (path, id) = rest.split_once("/item.htm?query=1").unwrap();
        assert_eq!(path.split('/').count(), 3);
        assert!(id.is_empty() || id.starts_with("&channel_id="));
        with_id += usize::from(!id.is_empty());
    }
    assert!((1_900..2_300).contains(&with_id), "{with_id}");
    let extra = bids.column(6).as_string::<i32>().value_data().len() / bids.num_rows();
    assert!((60..75).contains(&extra), "{extra}");
    let persons = generator(NexmarkTable::Person, 1).rows(0..5_000);
    assert!(persons.column(2).as_string::<i32>().value(0).ends_with(".com"));
    assert_eq!(persons.column(3).as_string::<i32>().value(0).len(), 19);
}

#[test]
fn in_the_table_of_all_events_exactly_one_kind_is_there() {
    let all = generator(NexmarkTable::All, 1).rows(40..110);
    for row in 0..all.num_rows() {
        let there: Vec<bool> = (1..4).map(|column| all.column(column).is_valid(row)).collect();
        let kind = all.column(0).as_primitive::<Int32Type>().value(row) as usize;
        assert!((0..3).all(|index| there[index] == (index == kind)));
    }
    let bids = generator(NexmarkTable::Bid, 1).rows(40..110);
    let nested = all.column(3).as_struct();
    let first = (0..nested.len()).find(|&row| nested.is_valid(row)).unwrap();
    assert_eq!(&nested.column(0).slice(first, 1), &bids.column(0).slice(0, 1));
}

#[test]
fn an_unknown_column_or_type_is_refused() {
    let refuse = |name: &str, data_type| {
        let wanted = Arc::new(Schema::new(vec![Field::new(name, data_type, true)]));
        let error = NexmarkGenerator::new(NexmarkConfig::default(), NexmarkTable::Bid, wanted).unwrap_err();
        error.to_string()
    };
    assert!(refuse("prize", DataType::Int64).contains("it has: auction, bidder, price"));
    assert!(refuse("url", DataType::Int64).contains("cannot be delivered as Int64"));
}
