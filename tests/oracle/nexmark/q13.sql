SELECT B.auction, B.bidder, B.price, B."dateTime", S."value"
FROM bid AS B JOIN read_csv('examples/nexmark/side_input.csv', header = true, columns = {'key': 'BIGINT', 'value': 'VARCHAR'}) AS S
ON B.auction % 10000 = S.key
