package config

import (
	"reflect"
	"testing"
	"time"
)

func TestScheduleOfRoute(t *testing.T) {
	q := Default().Queue
	q.Retry = Strings{"1m", "1h"}
	for _, tt := range []struct {
		name  string
		route Route
		waits []time.Duration
		own   bool
		min   Duration
	}{
		{"none of its own", Route{}, []time.Duration{time.Minute, time.Hour}, false, Minute},
		{"a list", Route{Retry: Strings{"30s"}}, []time.Duration{30 * time.Second}, true, Minute},
		{"a first wait puts an end to the list", Route{RetryMin: 5 * Minute}, nil, true, 5 * Minute},
	} {
		got := tt.route.Schedule(q)
		if !reflect.DeepEqual(got.Waits(), tt.waits) || tt.route.OwnSchedule() != tt.own || got.RetryMin != tt.min {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	got := Route{WarnAfter: Hour, ExpireAfter: Day}.Schedule(q)
	if got.WarnAfter != Hour || got.ExpireAfter != Day || got.Concurrency != q.Concurrency {
		t.Errorf("%+v", got)
	}
}
