"""The benchmark's queries in Polars' words: each takes the input as a lazy frame and answers one."""
import polars as pl

PRICES = {"rank1": pl.col("price") < 10000,
          "rank2": (pl.col("price") >= 10000) & (pl.col("price") < 1000000),
          "rank3": pl.col("price") >= 1000000}
CHANNEL_ID = r"(?:&|^)channel_id=([^&]*)"


def s0(orders):
    return orders.filter(pl.col("total_amount") > 100).select("order_id", "customer_id", "order_date", "total_amount")


def s1(market_data):
    moving = pl.col("price").rolling_mean(100, min_samples=1).over("symbol", order_by="timestamp")
    return market_data.select("symbol", "price", moving.alias("moving_avg"))


def s2(market_data):
    return market_data.group_by("symbol").agg(
        pl.len().alias("trades"), pl.col("price").mean().alias("average_price"), pl.col("price").min().alias("lowest_price"),
        pl.col("price").max().alias("highest_price"), pl.col("quantity").sum().alias("volume"))


def s3a(market_data):
    minute = pl.col("trade_time").dt.truncate("1m").alias("window_start")
    return market_data.group_by("trader_id", "symbol", minute).agg(
        pl.len().alias("trades"), pl.col("price").mean().alias("average_price"), pl.col("quantity").sum().alias("volume"),
        (pl.col("price") * pl.col("quantity")).sum().alias("turnover"))


def q0(bid):
    return bid.select("auction", "bidder", "price", "dateTime", "extra")


def q1(bid):
    return bid.select("auction", "bidder", (0.908 * pl.col("price")).alias("price"), "dateTime", "extra")


def q2(bid):
    return bid.filter(pl.col("auction") % 123 == 0).select("auction", "price")


def q5(bid):
    slices = bid.group_by("auction", pl.col("dateTime").dt.truncate("2s").alias("slice")).agg(pl.len().alias("num"))
    hops = pl.concat([slices.with_columns((pl.col("slice") - pl.duration(seconds=2 * k)).alias("starttime")) for k in range(5)])
    counts = hops.group_by("auction", "starttime").agg(pl.col("num").sum())
    most = counts.group_by("starttime").agg(pl.col("num").max().alias("most"))
    return counts.join(most, on="starttime").filter(pl.col("num") == pl.col("most")).select(
        "auction", "num", "starttime", (pl.col("starttime") + pl.duration(seconds=10)).alias("endtime"))


def q7(bid):
    bids = bid.select("auction", "price", "bidder", "dateTime", pl.col("dateTime").dt.truncate("10s").alias("window_start"))
    most = bids.group_by("window_start").agg(pl.col("price").max())
    return bids.join(most, on=["window_start", "price"]).select(
        "auction", "price", "bidder", "dateTime", "window_start",
        (pl.col("window_start") + pl.duration(seconds=10)).alias("window_end"))


def counts():
    return [pl.len().alias("total_bids")] + [mask.sum().alias(f"{name}_bids") for name, mask in PRICES.items()]


def distinct(column, plural):
    return [pl.col(column).n_unique().alias(f"total_{plural}")] + [
        pl.col(column).filter(mask).n_unique().alias(f"{name}_{plural}") for name, mask in PRICES.items()]


DAY = pl.col("dateTime").dt.date().alias("day")


def q15(bid):
    return bid.group_by(DAY).agg(*counts(), *distinct("bidder", "bidders"), *distinct("auction", "auctions"))


def q16(bid):
    minute = pl.col("dateTime").dt.time().max().dt.strftime("%H:%M").alias("minute")
    return bid.group_by("channel", DAY).agg(
        minute, *counts(), *distinct("bidder", "bidders"), *distinct("auction", "auctions"))


def q17(bid):
    price = pl.col("price")
    return bid.group_by("auction", DAY).agg(
        *counts(), price.min().alias("min_price"), price.max().alias("max_price"),
        (price.sum() // pl.len()).alias("avg_price"), price.sum().alias("sum_price"))


def q21(bid):
    lower = pl.col("channel").str.to_lowercase()
    extracted = pl.col("url").str.extract(CHANNEL_ID, 1)
    known = {"apple": "0", "google": "1", "facebook": "2", "baidu": "3"}
    channel_id = pl.coalesce(lower.replace_strict(known, default=None, return_dtype=pl.String), extracted).alias("channel_id")
    return bid.select("auction", "bidder", "price", "channel", channel_id).filter(pl.col("channel_id").is_not_null())


def q22(bid):
    parts = pl.col("url").str.splitn("/", 7)
    return bid.select("auction", "bidder", "price", "channel", *[
        parts.struct.field(f"field_{index}").alias(f"dir{index - 2}") for index in (3, 4, 5)])


def q3(auction, person):
    sellers = person.filter(pl.col("state").is_in(["OR", "ID", "CA"])).select("id", "name", "city", "state")
    return auction.filter(pl.col("category") == 10).select("seller", "id").join(
        sellers, left_on="seller", right_on="id", suffix="_person").select("name", "city", "state", "id")


def bids_in_time(auction, bid):
    """Each auction with the bids made while it was open."""
    bids = bid.select("auction", "bidder", "price", pl.col("dateTime").alias("bid_dateTime"), pl.col("extra").alias("bid_extra"))
    return auction.join(bids, left_on="id", right_on="auction").filter(
        pl.col("bid_dateTime").is_between(pl.col("dateTime"), pl.col("expires")))


def q4(auction, bid):
    final = bids_in_time(auction.select("id", "category", "dateTime", "expires"), bid).group_by("id", "category").agg(pl.col("price").max())
    return final.group_by("category").agg((pl.col("price").sum() // pl.len()).alias("average"))


def q8(person, auction):
    start = pl.col("dateTime").dt.truncate("10s").alias("starttime")
    sellers = auction.select("seller", start).unique()
    return person.select("id", "name", start).unique().join(
        sellers, left_on=["id", "starttime"], right_on=["seller", "starttime"]).select("id", "name", "starttime")


def q9(auction, bid):
    order, descending = ["price", "bid_dateTime", "bidder"], [True, False, False]
    return bids_in_time(auction, bid).with_columns(pl.col("id").alias("auction")).group_by("id").agg(
        pl.all().sort_by(order, descending=descending).first())


def q11(bid):
    time = pl.col("dateTime")
    begins = (time.diff().over("bidder", order_by="dateTime") >= pl.duration(seconds=10)).fill_null(True)
    session = begins.cast(pl.Int64).cum_sum().over("bidder", order_by="dateTime").alias("session")
    return bid.select("bidder", "dateTime").sort("bidder", "dateTime").with_columns(session).group_by("bidder", "session").agg(
        pl.len().alias("bid_count"), time.min().alias("starttime"), (time.max() + pl.duration(seconds=10)).alias("endtime")).drop("session")


def q18(bid):
    order = ["dateTime", "price", "extra"]
    return bid.group_by("bidder", "auction").agg(pl.all().sort_by(order, descending=True).first())


def q19(bid):
    order, descending = ["price", "dateTime", "bidder", "extra"], [True, False, False, False]
    ranked = bid.sort(order, descending=descending).with_columns(
        (pl.int_range(pl.len()).over("auction") + 1).alias("rank_number"))
    return ranked.filter(pl.col("rank_number") <= 10)


def q20(bid, auction):
    wanted = auction.filter(pl.col("category") == 10).rename({"dateTime": "auction_dateTime", "extra": "auction_extra"})
    return bid.rename({"dateTime": "bid_dateTime", "extra": "bid_extra"}).join(wanted, left_on="auction", right_on="id")
