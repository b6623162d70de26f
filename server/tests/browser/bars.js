// A clock as a row of bars, 16 for the milliseconds of the time and 4 for a sum that tells whether they were read well. For pages.

const BARS = 20;

function barsOf(time) {
  const sum = [0, 4, 8, 12].reduce((all, shift) => (all + (time >> shift)) & 15, 5);
  return (time << 4) | sum;
}

/** Paints the time, in milliseconds and 16 bits, all over the canvas. */
function paintBars(canvas, time) {
  const paint = canvas.getContext('2d');
  const width = canvas.width / BARS;
  for (let bit = 0; bit < BARS; bit++) {
    paint.fillStyle = (barsOf(time) >> bit) & 1 ? 'white' : 'black';
    paint.fillRect(bit * width, 0, width, canvas.height);
  }
}

const small = new OffscreenCanvas(BARS, 1).getContext('2d', { willReadFrequently: true });

/** The time that a picture shows, or nothing if it cannot be read. */
function readBars(video) {
  // The middle of the picture, where each bar is one pixel wide.
  small.imageSmoothingEnabled = false;
  small.drawImage(video, 0, video.videoHeight / 2, video.videoWidth, 1, 0, 0, BARS, 1);
  const { data } = small.getImageData(0, 0, BARS, 1);
  let bars = 0;
  for (let bit = 0; bit < BARS; bit++) bars |= (data[bit * 4] > 127) << bit;
  return barsOf(bars >> 4) === bars ? bars >> 4 : undefined;
}
