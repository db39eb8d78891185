package main

import (
	"io"
	"log/slog"

	"restante/internal/config"
)

// logs is where the log goes; its level can be changed while it is in use.
type logs struct {
	level   *slog.LevelVar
	handler slog.Handler
}

func newLogs(w io.Writer, cfg config.Log) *logs {
	l := &logs{level: new(slog.LevelVar)}
	l.setLevel(cfg)
	opt := &slog.HandlerOptions{Level: l.level}
	if cfg.Format == "json" {
		l.handler = slog.NewJSONHandler(w, opt)
	} else {
		l.handler = slog.NewTextHandler(w, opt)
	}
	return l
}

func (l *logs) logger() *slog.Logger { return slog.New(l.handler) }

// setLevel follows the configuration, which has been checked.
func (l *logs) setLevel(cfg config.Log) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err == nil {
		l.level.Set(level)
	}
}
