#!/usr/bin/env bash
# Makes the example recordings: synthetic speech with different pitch, rate and loudness. Needs espeak-ng and sox.
set -euo pipefail
cd "$(dirname "$0")/recordings"

# Arguments: output file, espeak-ng options, text. Writes 16 kHz mono FLAC.
synthesize() {
  espeak-ng --stdout "${@:2}" | sox -t wav - -r 16000 -c 1 -b 16 "$1"
}

synthesize calm-low.flac -v en-us -p 25 -s 120 -a 60 "The train leaves at nine, from platform four."
synthesize loud-high.flac -v en-us -p 85 -s 190 -a 200 "I can't believe it! They really are coming tonight!"
synthesize slow-quiet.flac -v en-gb -p 15 -s 90 -a 40 "Nobody called. I waited the whole day."
synthesize fast-shout.flac -v en-us -p 60 -s 260 -a 200 "Stop that! I told you three times already!"
synthesize german-plain.flac -v de -p 45 -s 150 -a 100 "Der Bericht liegt auf dem Tisch."
synthesize "polish name ż.flac" -v pl -p 50 -s 160 -a 120 "Dzień dobry, jak się masz?"

# A longer recording with two emotions, so that its prediction has several windows.
parts=$(mktemp -d)
trap 'rm -r "$parts"' EXIT
espeak-ng --stdout -v en-us -p 20 -s 110 -a 50 "It has been raining for days, and nothing happens here." > "$parts/1.wav"
espeak-ng --stdout -v en-us -p 90 -s 210 -a 200 "Wait, look outside! The sun! Come on, let's go, right now!" > "$parts/2.wav"
sox "$parts/1.wav" "$parts/2.wav" -r 16000 -c 1 -b 16 two-moods.flac
