package bench

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
)

// Main is the main function of a program that compares: it reads the flags, makes
// a folder and the binary in it, and runs what measures, which an interrupt ends.
// After an error it ends the process with code 1.
func Main[O any](name string, flags func() (O, error), run func(ctx context.Context, opt O, dir, binary string) error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	err := prepared(ctx, flags, run)
	cancel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func prepared[O any](ctx context.Context, flags func() (O, error), run func(ctx context.Context, opt O, dir, binary string) error) error {
	opt, err := flags()
	if err != nil {
		return err
	}
	dir, err := TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := Build(ctx, dir)
	if err != nil {
		return err
	}
	return run(ctx, opt, dir, binary)
}

// Rounds measures every system at every point, by turns, several times over, and
// returns the figures by point and system. Whoever goes first has the disk as the
// other left it: so the systems change places after each round.
func Rounds[P comparable, F any](rounds int, points []P, systems []string, measure func(round int, p P, system string) (F, error)) (map[P]map[string][]F, error) {
	systems = slices.Clone(systems)
	figures := make(map[P]map[string][]F)
	for round := range rounds {
		for _, p := range points {
			if figures[p] == nil {
				figures[p] = make(map[string][]F)
			}
			for _, system := range systems {
				f, err := measure(round+1, p, system)
				if err != nil {
					return nil, fmt.Errorf("%s, %v: %w", system, p, err)
				}
				figures[p][system] = append(figures[p][system], f)
			}
		}
		slices.Reverse(systems)
	}
	return figures, nil
}

// MedianOf is the Median of something of each figure.
func MedianOf[F any](figures []F, of func(F) float64) float64 {
	var values []float64
	for _, f := range figures {
		values = append(values, of(f))
	}
	return Median(values)
}
