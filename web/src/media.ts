// Cameras, microphones and screens, and words for what may be wrong with them.

/** Where the picture comes from. */
export type Picture = 'camera' | 'screen' | 'none';

/** Asks for picture and sound; throws a text for people. */
export async function capture(picture: Picture, sound: boolean): Promise<MediaStream> {
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (!devices?.getUserMedia) {
    throw new Error('Browsers give camera and microphone only to pages over https, or from localhost. Open this page over https.');
  }
  if (picture === 'none' && !sound) throw new Error('Nothing is chosen: take a picture, sound, or both.');
  try {
    if (picture !== 'screen') {
      const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
      return await devices.getUserMedia({ video: picture === 'camera' && size, audio: sound });
    }
    const screen = await devices.getDisplayMedia({ video: true });
    if (sound) (await devices.getUserMedia({ audio: true })).getAudioTracks().forEach((track) => screen.addTrack(track));
    return screen;
  } catch (error) {
    throw new Error(reason(error), { cause: error });
  }
}

function reason(error: unknown): string {
  if (!(error instanceof DOMException)) return String(error);
  switch (error.name) {
    case 'NotAllowedError':
      return 'The browser was told not to give camera, microphone or screen to this page. Allow it beside the address of the page, and start again.';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'There is no such camera or microphone. Choose another picture, or sound alone.';
    case 'NotReadableError':
      return 'The camera or microphone is in use by another program.';
    default:
      return `${error.name}: ${error.message}`;
  }
}
