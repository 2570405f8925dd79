// What a program with clickhouse-go does: parameters, totals, external tables, a late error.
// It prints one JSON object with what it found; the argument is host:port of the native protocol.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	found := map[string]any{}
	for name, method := range map[string]clickhouse.CompressionMethod{
		"plain": clickhouse.CompressionNone,
		"lz4":   clickhouse.CompressionLZ4,
	} {
		connection, err := clickhouse.Open(&clickhouse.Options{
			Addr:        []string{os.Args[1]},
			Compression: &clickhouse.Compression{Method: method},
			ReadTimeout: time.Minute,
		})
		must(err)
		found[name] = ask(connection)
		must(connection.Close())
	}
	must(json.NewEncoder(os.Stdout).Encode(found))
}

func ask(connection clickhouse.Conn) map[string]any {
	found := map[string]any{}

	// clickhouse-go escapes quotes alone, so backslashes are not for it to test.
	values := []string{"it's", "\"twice\"", "汉字", "{x}", ""}
	same := []bool{}
	for _, value := range values {
		ctx := clickhouse.Context(context.Background(), clickhouse.WithParameters(
			clickhouse.Parameters{"s": value, "limit": "7"}))
		var text string
		var number uint8
		must(connection.QueryRow(ctx, "SELECT {s:String}, {limit:UInt8}").Scan(&text, &number))
		same = append(same, text == value && number == 7)
	}
	found["parameters"] = same

	rows, err := connection.Query(context.Background(), `
		SELECT number % 2 AS k, count() AS c, toDateTime(1792978200, 'Europe/Berlin') AS t
		FROM numbers(5) GROUP BY k WITH TOTALS ORDER BY k`)
	must(err)
	listed := [][]any{}
	var key uint8
	var count uint64
	var at time.Time
	for rows.Next() {
		must(rows.Scan(&key, &count, &at))
		listed = append(listed, []any{key, count, at.Unix()})
	}
	must(rows.Err())
	must(rows.Totals(&key, &count, &at))
	found["rows"], found["totals"] = listed, []any{key, count}
	must(rows.Close())

	table, err := ext.NewTable("ids", ext.Column("id", "UInt32"), ext.Column("s", "String"))
	must(err)
	for id := uint32(1); id <= 3; id++ {
		must(table.Append(id, "x"))
	}
	ctx := clickhouse.Context(context.Background(), clickhouse.WithExternalTable(table))
	var sum, length uint64
	must(connection.QueryRow(ctx, "SELECT sum(id), sum(length(s)) FROM ids").Scan(&sum, &length))
	found["external"] = []uint64{sum, length}

	rows, err = connection.Query(context.Background(), `
		SELECT throwIf(number = 300000), randomPrintableASCII(20) FROM numbers(400000)
		SETTINGS max_block_size = 1000`)
	must(err)
	for rows.Next() {
	}
	var late *clickhouse.Exception
	if errors.As(rows.Err(), &late) {
		found["late"] = late.Code
	}
	_ = rows.Close()
	var one uint8
	must(connection.QueryRow(context.Background(), "SELECT 1").Scan(&one))
	found["after"] = one
	return found
}
